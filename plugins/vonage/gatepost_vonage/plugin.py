"""The plugin's hooks."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from gatepost import wire
from gatepost.errors import Faults
from gatepost.hookspecs import Context, HasLifespan, HasPing, SmsSender, WebhookParser, hookimpl
from gatepost.model import Receipt, Report, Sms, WebhookRequest
from gatepost_vonage.error_codes import error_code
from gatepost_vonage.settings import Settings, check


class Vonage(HasLifespan, HasPing, SmsSender, WebhookParser):
    """A Vonage application: the SDK builds its requests and tokens, and ``gatepost.wire`` sends them."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context, clock: Callable[[], float] = time.time) -> None:
        # Imported here: the SDK takes a second of CPU and 23 MiB to load, and a list of plugins does not need it.
        from gatepost_vonage import messages, reports, tokens  # noqa: PLC0415

        self._messages, self._reports, self._tokens = messages, reports, tokens
        self._settings = settings
        self._webhook_url = context.webhook_url
        self._clock = clock
        faults = Faults(check(settings))
        with faults:
            self._key = tokens.parse_key(settings.private_key)
        with faults:
            self._http = wire.connect(
                settings.base_url,
                timeout=context.timeout,
                connections=context.concurrency,
                headers={"Accept": "application/json"},
                options=settings.connection,
                token=self._new_token,
            )
        faults.expect_none()

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to Vonage open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """Read one of the application's users, which costs nothing: it proves the key, but no credit or permission."""
        reply = await self._http.get("/v1/users?page_size=1")
        wire.expect_success(reply, code=error_code(reply.json()), misconfigured=wire.ANY_REFUSAL)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message on the instance's channel."""
        body = self._messages.message_body(message, self._settings, webhook_url=self._webhook_url)
        reply = await self._http.post("/v1/messages", body)
        answer = reply.json()
        wire.expect_success(reply, code=error_code(answer), accepted={202})
        return Receipt(wire.safe_id(answer.get("message_uuid")) if isinstance(answer, dict) else "")

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a status webhook of the Messages API (v1), then translate it."""
        secret = self._settings.signature_secret
        return await wire.read_webhook(request, self._reports.read_report, secret, setting="signature_secret")

    async def _new_token(self) -> wire.Token:
        return self._tokens.new_token(self._settings.application_id, self._key, int(self._clock()))
