"""The plugin's hooks."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import ClassVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from gatepost import wire
from gatepost.errors import Fault, Faults, Rejected
from gatepost.hookspecs import (
    Context,
    EmailSender,
    HasLifespan,
    HasPing,
    SmsSender,
    WebhookParser,
    hookimpl,
)
from gatepost.model import Email, Receipt, Report, Secret, Sms, WebhookRequest
from gatepost_http import answers, checks, messages, requests, signatures, webhooks
from gatepost_http.settings import Settings
from gatepost_http.templates import AddFault, Values

_DOTS = str(Secret(""))


class Http(HasLifespan, HasPing, EmailSender, SmsSender, WebhookParser):
    """A provider that its table describes. An instance has only the hooks that its table is about."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        faults = Faults()

        def add_fault(key: str, problem: str) -> None:
            faults.append(Fault(key, problem))

        compiler = requests.Compiler(settings, add_fault)
        self._settings = settings
        self._context = context
        self._request = compiler.request()
        self._names = self._request.names
        self._ping = compiler.ping()
        self._fixed_headers = compiler.fixed_headers()
        self._secrets = {f"secret.{name}": secret.reveal() for name, secret in settings.secrets.items()}
        self._answers = answers.make_reader(settings.answer, add_fault)
        self._ping_success = answers.make_statuses(
            settings.ping.success if settings.ping else [], "ping.success", add_fault
        )
        self._reports = webhooks.make_reader(settings.webhook, add_fault) if settings.webhook else None
        self._verify = signatures.make_verify(settings, add_fault)
        checks.add_faults(settings, self._request, self._reports, add_fault)
        with faults:
            self._http = wire.connect(
                settings.base_url,
                timeout=context.timeout,
                connections=context.concurrency,
                headers=self._every_header(add_fault),
                options=settings.connection,
            )
        faults.expect_none()
        self.replay_safe = settings.replay_safe
        self.retry_status = settings.retry_status
        for hook in self._unused_hooks():
            setattr(self, hook, None)
        checks.add_warnings(settings, self._request, context.warn)

    def _unused_hooks(self) -> Iterator[str]:
        yield "send_email" if self._settings.channel == "sms" else "send_sms"
        if self._ping is None:
            yield "ping"
        if self._reports is None:
            yield "parse_webhook"

    def _every_header(self, add_fault: AddFault) -> Mapping[str, str]:
        """Return the headers of every request."""
        settings = self._settings
        headers = {name: text.fill(self._secrets) or "" for name, text in self._fixed_headers.items()}
        if settings.basic is not None:
            for fault in settings.basic.faults("basic"):
                add_fault(*fault)
            headers |= wire.basic_auth(settings.basic.username, settings.basic.password)
        if settings.bearer is not None:
            headers |= wire.bearer(settings.bearer)
        return headers

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to the provider open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """Send the request of the ping table."""
        assert self._ping is not None, "an instance without a ping table has no such hook"
        prepared = self._ping.fill(self._secrets)
        reply = await self._http.request(prepared.method, prepared.path)
        wire.expect_success(reply, accepted=self._ping_success, misconfigured=wire.ANY_REFUSAL)

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        return await self._send(message)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        return await self._send(message)

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        verify = self._verify
        if verify is None and request.network_listed:
            verify = signatures.trust_network
        setting = "webhook_hmac, webhook_token, webhook_basic or webhook_networks"
        return await wire.read_webhook(request, self._read_report, verify, setting=setting)

    def _read_report(self, request: WebhookRequest, verify: signatures.Verify) -> Report:
        assert self._reports is not None, "an instance without a webhook table has no such hook"
        verify(request)
        return self._reports.read(request)

    def preview_request(self, message: Email | Sms) -> str:
        """Return the request that a send of this message would make, with five dots for each secret."""
        prepared = self._prepare(message, dict.fromkeys(self._secrets, _DOTS), token=_DOTS)
        headers = {
            name: text.fill(dict.fromkeys(self._secrets, _DOTS)) for name, text in self._fixed_headers.items()
        }
        if self._settings.bearer is not None or self._settings.basic is not None:
            headers["Authorization"] = f"{'Bearer' if self._settings.bearer is not None else 'Basic'} {_DOTS}"
        lines = [f"{prepared.method} {self._settings.base_url.rstrip('/')}{prepared.path}"]
        lines += [f"{name}: {value}" for name, value in {**headers, **prepared.headers}.items()]
        body = (prepared.body or b"").decode()
        if self._request.form is not None:
            lines += ["", *(f"{name}={value}" for name, value in parse_qsl(body, keep_blank_values=True))]
        elif body:
            lines += ["Content-Type: application/json", "", msgspec.json.format(body)]
        text = "\n".join(lines)
        # A token in the callback URL is encoded once more where the URL is a parameter itself.
        for hidden in (quote(quote(_DOTS)), quote(_DOTS), *checks.plain_secrets(self._settings)):
            text = text.replace(hidden, _DOTS)
        return text

    async def _send(self, message: Email | Sms) -> Receipt:
        token = self._settings.webhook_token
        prepared = self._prepare(message, self._secrets, token=token.value.reveal() if token else "")
        reply = await self._http.request(
            prepared.method, prepared.path, body=prepared.body, headers=prepared.headers, sends=True
        )
        return self._answers.receipt(reply)

    def _prepare(self, message: Email | Sms, secrets: Mapping[str, str], *, token: str) -> requests.Prepared:
        if isinstance(message, Sms) and "sender" in self._names:
            wire.sender_of(message, self._settings.default_sender)
        callback_url = self._callback_url(message.id, token)
        values: Values = {**messages.values_of(message, self._settings, callback_url), **secrets}
        try:
            return self._request.fill(values)
        except UnicodeEncodeError:
            pass
        # Raised here, because an exception raised above would keep the encoder's error, which holds the text.
        raise Rejected("the message has half of a Unicode character")

    def _callback_url(self, message_id: str, token: str) -> str:
        """Return the URL for reports about a message, with what its query must hold; empty where there is none."""
        url, settings = self._context.webhook_url, self._settings
        kind, _, name = settings.webhook.id.partition(":") if settings.webhook else ("", "", "")
        query = {name: message_id} if kind == "query" else {}
        if settings.webhook_token is not None and settings.webhook_token.query:
            query[settings.webhook_token.query] = token
        return (
            f"{url}{'&' if '?' in url else '?'}{urlencode(query, quote_via=quote)}" if url and query else url
        )
