"""The plugin's hooks, and the meaning of SendGrid's answers."""

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ClassVar

from gatepost import wire
from gatepost.errors import Faults, Unavailable
from gatepost.hookspecs import Context, EmailSender, HasLifespan, HasPing, WebhookParser, hookimpl
from gatepost.model import Email, Receipt, Report, WebhookRequest
from gatepost_sendgrid import reports
from gatepost_sendgrid.error_codes import error_code
from gatepost_sendgrid.messages import mail_body
from gatepost_sendgrid.settings import Settings, check

# 415 means that base_url leads elsewhere, as 404 and 405 do.
_MISCONFIGURED = wire.MISCONFIGURED | {415}

# The account may have other senders that are verified, so only mails from this sender are affected.
_UNVERIFIED_SENDER = "403 from"

_RESET_HEADER = "X-RateLimit-Reset"


class SendGrid(HasLifespan, HasPing, EmailSender, WebhookParser):
    """One SendGrid account or subuser."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        # Sandbox mode answers 200.
        self._accepted = {200, 202} if settings.sandbox_mode else {202}
        self._read_report = partial(reports.read_report, count_machine_opens=settings.count_machine_opens)
        faults = Faults(check(settings))
        with faults:
            self._public_key = reports.parse_public_key(settings.webhook_public_key)
        with faults:
            self._http = wire.connect(
                settings.base_url,
                timeout=context.timeout,
                connections=context.concurrency,
                headers=wire.bearer(settings.api_key),
                options=settings.connection,
            )
        faults.expect_none()

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to SendGrid open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """Read the permissions of the key, which costs nothing."""
        reply = await self._http.get("/v3/scopes")
        wire.expect_success(reply, misconfigured=_MISCONFIGURED, reset_header=_RESET_HEADER)
        match reply.json():
            case {"scopes": [*scopes]} if "mail.send" in scopes:
                return
        raise Unavailable(
            "the key may not send mail: give it the permission Mail Send", code="403", misconfigured=True
        )

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one mail; raise Uncertain for a success other than Mail Send's."""
        reply = await self._http.post("/v3/mail/send", mail_body(message, self._settings))
        code = error_code(reply.status, reply.json())
        if code == _UNVERIFIED_SENDER:
            raise Unavailable(
                "SendGrid does not know this sender: verify its address or authenticate its domain",
                code=code,
                misconfigured=True,
                content_only=True,
            )
        wire.expect_success(
            reply,
            code=code,
            accepted=self._accepted,
            misconfigured=_MISCONFIGURED,
            reset_header=_RESET_HEADER,
        )
        return Receipt(reply.headers.get("X-Message-Id", "")[:255])

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify the signature of an Event Webhook, then translate its events."""
        return await wire.read_webhook(
            request, self._read_report, self._public_key, setting="webhook_public_key"
        )
