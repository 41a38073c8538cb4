"""The hooks."""

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import ClassVar

from gatepost import wire
from gatepost.errors import ConfigError, Fault, NoVerificationKey, Unavailable, Uncertain
from gatepost.hookspecs import Context, HasLifespan, HasPing, SmsSender, WebhookParser, hookimpl
from gatepost.model import Receipt, Report, Sms, WebhookRequest
from gatepost_vonage.problems import problem_code
from gatepost_vonage.settings import Settings, check

# An answer to a ping concerns no message: whatever Vonage refuses, the operator has to look.
_REFUSED_PING = frozenset(range(400, 500)) - {408, 425, 429}


class Vonage(HasLifespan, HasPing, SmsSender, WebhookParser):
    """Sends by ``POST /v1/messages``; the SDK says what, ``gatepost.wire`` carries it."""

    api_version: ClassVar[int] = 1
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context, clock: Callable[[], float] = time.time) -> None:
        # Here, because the SDK and PyJWT take a second of CPU and 23 MiB to load, and listing what is
        # installed shall not.
        from gatepost_vonage.compose import compose  # noqa: PLC0415
        from gatepost_vonage.reports import read_report  # noqa: PLC0415
        from gatepost_vonage.tokens import Tokens  # noqa: PLC0415

        faults: list[Fault] = []
        try:
            check(settings)
        except ConfigError as error:
            faults += error.faults
        try:
            self._tokens = Tokens(settings.application_id, settings.private_key, clock)
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError(faults)
        self._settings = settings
        self._context = context
        self._compose = compose
        self._read_report = read_report

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        context = self._context
        async with wire.connect(
            self._settings.base_url, timeout=context.timeout, connections=context.concurrency
        ) as self._http:
            yield

    @hookimpl
    async def ping(self) -> None:
        """Read one of the application's users, which costs nothing.

        It proves that Vonage is there and takes the application's token. It does not prove that there is
        credit, or that the application may send text messages.
        """
        token = await self._tokens.current()
        try:
            reply = await self._http.get("/v1/users?page_size=1", headers=_bearing(token))
        except Uncertain as lost:
            raise Unavailable(lost.reason) from None
        self._judge(reply, token, misconfigured=_REFUSED_PING)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        body = self._compose(
            message, default_sender=self._settings.default_sender, webhook_url=self._context.webhook_url
        )
        token = await self._tokens.current()
        reply = await self._http.post("/v1/messages", body, headers=_bearing(token))
        self._judge(reply, token, misconfigured=wire.MISCONFIGURED)
        if reply.status != 202:
            raise Uncertain(f"{reply.status} instead of Vonage's 202: check base_url", code=str(reply.status))
        return Receipt(_message_uuid(reply.json()))

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        secret = self._settings.signature_secret
        if secret is None:
            raise NoVerificationKey("signature_secret is not set")
        return self._read_report(request, secret.reveal())

    def _judge(self, reply: wire.Reply, token: str, *, misconfigured: Collection[int]) -> None:
        """Return when Vonage said yes; otherwise raise what its answer means."""
        if reply.status == 401:
            self._tokens.forget(token)
        wire.expect_success(reply, code=problem_code(reply.json()), misconfigured=misconfigured)


def _bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def _message_uuid(answer: object) -> str:
    uuid = answer.get("message_uuid") if isinstance(answer, dict) else None
    return uuid if isinstance(uuid, str) and len(uuid) <= 255 else ""
