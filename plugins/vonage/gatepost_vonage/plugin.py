"""The plugin's hooks."""

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import ClassVar

from gatepost import wire
from gatepost.errors import ConfigError, Fault, NoVerificationKey, Unavailable, Uncertain
from gatepost.hookspecs import Context, HasLifespan, HasPing, SmsSender, WebhookParser, hookimpl
from gatepost.model import Receipt, Report, Sms, WebhookRequest
from gatepost_vonage.error_codes import error_code
from gatepost_vonage.settings import Settings, check

# A ping is about no message: if Vonage refuses it, the operator must act.
_PING_MISCONFIGURED = frozenset(range(400, 500)) - {408, 425, 429}


class Vonage(HasLifespan, HasPing, SmsSender, WebhookParser):
    """A Vonage application that sends by ``POST /v1/messages``.

    The SDK builds the requests and the tokens; ``gatepost.wire`` sends them.
    """

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context, clock: Callable[[], float] = time.time) -> None:
        # Imported here, because the SDK and PyJWT take a second of CPU and 23 MiB to load, and a command that
        # only lists the installed plugins does not need them.
        from gatepost_vonage.messages import message_body  # noqa: PLC0415
        from gatepost_vonage.reports import read_report  # noqa: PLC0415
        from gatepost_vonage.tokens import TokenCache  # noqa: PLC0415

        faults: list[Fault] = []
        try:
            check(settings)
        except ConfigError as error:
            faults += error.faults
        try:
            self._tokens = TokenCache(settings.application_id, settings.private_key, clock)
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError(faults)
        self._settings = settings
        self._context = context
        self._message_body = message_body
        self._read_report = read_report

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep a pool of connections to Vonage open."""
        context = self._context
        async with wire.connect(
            self._settings.base_url, timeout=context.timeout, connections=context.concurrency
        ) as self._http:
            yield

    @hookimpl
    async def ping(self) -> None:
        """Read one of the application's users, which costs nothing.

        It proves that Vonage can be reached and accepts the application's token. It does not prove that the
        account has credit, or that the application may send on the instance's channel.
        """
        token = await self._tokens.current()
        try:
            reply = await self._http.get("/v1/users?page_size=1", headers=_headers(token))
        except Uncertain as error:
            raise Unavailable(error.reason) from None
        self._expect_success(reply, token, misconfigured=_PING_MISCONFIGURED)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        body = self._message_body(message, self._settings, webhook_url=self._context.webhook_url)
        token = await self._tokens.current()
        reply = await self._http.post("/v1/messages", body, headers=_headers(token))
        self._expect_success(reply, token, misconfigured=wire.MISCONFIGURED)
        if reply.status != 202:
            raise Uncertain(f"{reply.status} instead of Vonage's 202: check base_url", code=str(reply.status))
        return Receipt(_message_uuid(reply.json()))

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        secret = self._settings.signature_secret
        if secret is None:
            raise NoVerificationKey("signature_secret is not set")
        return self._read_report(request, secret.reveal())

    def _expect_success(self, reply: wire.Reply, token: str, *, misconfigured: Collection[int]) -> None:
        """Return if Vonage accepted the request; otherwise raise what its answer means."""
        if reply.status == 401:
            self._tokens.discard(token)
        wire.expect_success(reply, code=error_code(reply.json()), misconfigured=misconfigured)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def _message_uuid(answer: object) -> str:
    uuid = answer.get("message_uuid") if isinstance(answer, dict) else None
    return uuid if isinstance(uuid, str) and len(uuid) <= 255 else ""
