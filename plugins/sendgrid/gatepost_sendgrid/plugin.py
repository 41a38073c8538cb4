"""The plugin's hooks, and the meaning of SendGrid's answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec

from gatepost import wire
from gatepost.errors import ConfigError, Fault, NoVerificationKey, Rejected, Unavailable, Uncertain
from gatepost.hookspecs import Context, EmailSender, HasLifespan, HasPing, WebhookParser, hookimpl
from gatepost.model import Email, Receipt, Report, WebhookRequest
from gatepost_sendgrid import messages, reports
from gatepost_sendgrid.error_codes import error_code
from gatepost_sendgrid.settings import Settings, check

# HTTP statuses that need the operator. 404, 405 and 415 mean that base_url leads elsewhere.
_MISCONFIGURED = frozenset({401, 402, 403, 404, 405, 415})

# The account may have other senders that are verified, so only mails from this sender are affected.
_UNVERIFIED_SENDER = "403 from"

_RESET_HEADER = "X-RateLimit-Reset"

_MAX_INLINE_BYTES = 64 * 1024
"""A larger webhook is read in a thread."""


class SendGrid(HasLifespan, HasPing, EmailSender, WebhookParser):
    """One SendGrid account or subuser."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._mail_options = messages.MailOptions(
            categories=settings.categories,
            click_tracking=settings.click_tracking,
            open_tracking=settings.open_tracking,
            sandbox_mode=settings.sandbox_mode,
        )
        faults: list[Fault] = []
        try:
            check(settings)
        except ConfigError as error:
            faults += error.faults
        try:
            self._public_key = reports.parse_public_key(settings.webhook_public_key)
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError(faults)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep a pool of connections to SendGrid open."""
        async with wire.connect(
            self._settings.base_url,
            timeout=self._context.timeout,
            connections=self._context.concurrency,
            headers={"Authorization": f"Bearer {self._settings.api_key.reveal()}"},
        ) as self._http:
            yield

    @hookimpl
    async def ping(self) -> None:
        """Read the permissions of the key, which costs nothing."""
        try:
            reply = await self._http.get("/v3/scopes")
            wire.expect_success(reply, misconfigured=_MISCONFIGURED, reset_header=_RESET_HEADER)
        except (Rejected, Uncertain) as error:
            raise Unavailable(error.reason, code=error.code) from None
        match reply.json():
            case {"scopes": [*scopes]} if "mail.send" in scopes:
                return
        raise Unavailable(
            "the key may not send mail: give it the permission Mail Send", code="403", misconfigured=True
        )

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one mail; raise Uncertain for a success other than Mail Send's."""
        reply = await self._http.post("/v3/mail/send", messages.mail_body(message, self._mail_options))
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
            misconfigured=_MISCONFIGURED,
            reset_header=_RESET_HEADER,
        )
        if reply.status != 202 and not (self._settings.sandbox_mode and reply.status == 200):
            raise Uncertain(
                f"{reply.status} instead of SendGrid's 202: check base_url", code=str(reply.status)
            )
        return Receipt(reply.headers.get("X-Message-Id", "")[:255])

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify the signature of an Event Webhook, then translate its events."""
        if self._public_key is None:
            raise NoVerificationKey("webhook_public_key is not set")
        if len(request.body) > _MAX_INLINE_BYTES:
            return await asyncio.to_thread(self._read_report, self._public_key, request)
        return self._read_report(self._public_key, request)

    def _read_report(self, public_key: Any, request: WebhookRequest) -> Report:
        reports.verify(public_key, request)
        return reports.translate(request.body, count_machine_opens=self._settings.count_machine_opens)
