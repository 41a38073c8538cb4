"""The plugin's class: settings, hooks, and what SendGrid's answers mean."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import ConfigError, Fault, NoVerificationKey, Rejected, Unavailable, Uncertain
from gatepost.hookspecs import Context, EmailSender, HasLifespan, HasPing, WebhookParser, hookimpl
from gatepost.model import Email, Receipt, Report, Secret, WebhookRequest
from gatepost_sendgrid import mail, webhook

# SendGrid's answers that only the operator can mend. 404, 405 and 415 say that base_url leads elsewhere.
_MISCONFIGURED = frozenset({401, 402, 403, 404, 405, 415})

# Of this account not every sender may be verified: the others' mails are taken.
_UNVERIFIED_SENDER = "403 from"

_RESET = "X-RateLimit-Reset"

_LARGE = 64 * 1024
"""Bytes of a webhook from which on reading it is a thread's work."""

_Category = Annotated[str, Meta(min_length=1, max_length=255)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of a ``[plugins.NAME]`` table with ``use = "sendgrid"``."""

    api_key: Annotated[Secret, Meta(description="a key that may send mail")]
    base_url: Annotated[str, Meta(description="https://api.eu.sendgrid.com for a subuser in the EU")] = (
        "https://api.sendgrid.com"
    )
    webhook_public_key: Annotated[
        str, Meta(description="the Event Webhook's verification key; without it no reports are taken")
    ] = ""
    sandbox_mode: Annotated[bool, Meta(description="SendGrid checks every mail, and sends none")] = False
    categories: Annotated[
        tuple[_Category, ...],
        Meta(max_length=10, description="what SendGrid's own statistics file these mails under"),
    ] = ()
    click_tracking: Annotated[
        bool | None, Meta(description="whether links are rewritten; left out: as the account is set")
    ] = None
    open_tracking: Annotated[
        bool | None,
        Meta(
            description="whether a pixel is put in, without which nothing is ever opened; left out: as the "
            "account is set"
        ),
    ] = None
    count_machine_opens: Annotated[
        bool, Meta(description="whether an image fetched by a mail client's proxy counts as opened")
    ] = False


class SendGrid(HasLifespan, HasPing, EmailSender, WebhookParser):
    """One SendGrid account, or subuser, of the operator's."""

    api_version: ClassVar[int] = 1
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._extras = mail.Extras(
            categories=settings.categories,
            click_tracking=settings.click_tracking,
            open_tracking=settings.open_tracking,
            sandbox_mode=settings.sandbox_mode,
        )
        faults: list[Fault] = []
        if not re.fullmatch("[!-~]+", settings.api_key.reveal()):
            faults.append(Fault("api_key", "must be the key as SendGrid showed it: one word, no blanks"))
        if len(set(settings.categories)) != len(settings.categories):
            faults.append(Fault("categories", "must not name a category twice"))
        try:
            wire.check_base_url(settings.base_url)
        except ConfigError as error:
            faults.extend(error.faults)
        try:
            self._key = webhook.public_key(settings.webhook_public_key)
        except ConfigError as error:
            faults.extend(error.faults)
        if faults:
            raise ConfigError(faults)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep the connections to SendGrid open."""
        async with wire.connect(
            self._settings.base_url,
            timeout=self._context.timeout,
            connections=self._context.concurrency,
            headers={"Authorization": f"Bearer {self._settings.api_key.reveal()}"},
        ) as self._http:
            yield

    @hookimpl
    async def ping(self) -> None:
        """Ask what the key may do, which costs nothing."""
        try:
            reply = await self._http.get("/v3/scopes")
            wire.expect_success(reply, misconfigured=_MISCONFIGURED, reset_header=_RESET)
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
        """Hand one mail to Mail Send; see the contract for what it raises."""
        reply = await self._http.post("/v3/mail/send", mail.build(message, self._extras))
        code = mail.error_code(reply.status, reply.json())
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
            reset_header=_RESET,
        )
        if reply.status != 202 and not (self._settings.sandbox_mode and reply.status == 200):
            raise Uncertain(
                f"{reply.status} instead of SendGrid's 202: check base_url", code=str(reply.status)
            )
        return Receipt(reply.headers.get("X-Message-Id", "")[:255])

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Check an Event Webhook's signature and translate its events."""
        if self._key is None:
            raise NoVerificationKey("webhook_public_key is not set")
        if len(request.body) > _LARGE:
            return await asyncio.to_thread(self._read, self._key, request)
        return self._read(self._key, request)

    def _read(self, key: Any, request: WebhookRequest) -> Report:
        webhook.verify(key, request)
        return webhook.translate(request.body, count_machine_opens=self._settings.count_machine_opens)
