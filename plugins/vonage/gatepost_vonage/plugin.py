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
        from gatepost_vonage.tokens import TokenIssuer  # noqa: PLC0415

        self._settings = settings
        self._webhook_url = context.webhook_url
        self._message_body = message_body
        self._read_report = read_report
        faults = Faults(check(settings))
        with faults:
            self._tokens = TokenIssuer(settings.application_id, settings.private_key, clock)
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
        """Read one of the application's users, which costs nothing.

        It proves that Vonage can be reached and accepts the application's token. It does not prove that the
        account has credit, or that the application may send on the instance's channel.
        """
        reply = await self._http.get("/v1/users?page_size=1")
        wire.expect_success(reply, code=error_code(reply.json()), misconfigured=wire.ANY_REFUSAL)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message on the instance's channel."""
        body = self._message_body(message, self._settings, webhook_url=self._webhook_url)
        reply = await self._http.post("/v1/messages", body)
        answer = reply.json()
        wire.expect_success(reply, code=error_code(answer), accepted={202})
        return Receipt(wire.safe_id(answer.get("message_uuid")) if isinstance(answer, dict) else "")

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a status webhook of the Messages API (v1), then translate it."""
        secret = self._settings.signature_secret
        return await wire.read_webhook(request, self._read_report, secret, setting="signature_secret")

    async def _new_token(self) -> wire.Token:
        return await self._tokens.issue()
