"""The hooks that Gatepost calls; ``gatepost.hookspecs`` says what each of them promises."""

import asyncio  # <contacts>
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from gatepost import wire
from gatepost.errors import (
    Faults,
    Unavailable,  # <contacts>
    Uncertain,  # <send>
)
from gatepost.hookspecs import (
    ContactSource,  # <contacts>
    Context,
    EmailSender,  # <email>
    HasLifespan,
    HasPing,
    SmsSender,  # <sms>
    WebhookParser,  # <send>
    hookimpl,
)
from gatepost.model import (
    Contact,  # <contacts>
    Email,  # <email>
    Receipt,  # <send>
    Report,  # <send>
    Sms,  # <sms>
    WebhookRequest,  # <send>
)

from gatepost_example import (
    messages,  # <send>
    reports,  # <send>
    users,  # <contacts>
)
from gatepost_example.settings import Settings


class Example(
    HasLifespan,
    HasPing,
    ContactSource,  # <contacts>
    EmailSender,  # <email>
    SmsSender,  # <sms>
    WebhookParser,  # <send>
):
    """One account at Example."""

    # The version of the plugin contract that this plugin is written for.
    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings  # <send>
        self._context = context
        keys = wire.key_faults(
            api_key=settings.api_key,
            webhook_secret=settings.webhook_secret,  # <send>
        )
        faults = Faults(keys)
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
        """Keep a pool of connections to the API open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """Read the account, which costs nothing and proves that the key is valid."""
        await self._get("/v1/account")

    # <contacts>
    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        """Look the user up."""
        path = users.lookup_path(ext_user_id)
        if not path:
            return None
        try:
            # A moment before Gatepost cancels the lookup: the log then says what was missing.
            async with asyncio.timeout(0.9 * self._context.lookup_timeout):
                reply = await self._get(path, accepted={200, 404})
        except TimeoutError:
            raise Unavailable("no answer in time") from None
        return users.contact(reply, ext_user_id)

    # </contacts>
    # <email>
    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one email."""
        body = messages.email_body(message, webhook_url=self._context.webhook_url)
        return await self._send(body, message.idempotency_key)

    # </email>
    # <sms>
    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message."""
        body = messages.sms_body(
            message, default_sender=self._settings.default_sender, webhook_url=self._context.webhook_url
        )
        return await self._send(body, message.idempotency_key)

    # </sms>
    # <send>
    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a report's signature, then translate the report."""
        secret = self._settings.webhook_secret
        return await wire.read_webhook(request, reports.read, secret, setting="webhook_secret")

    async def _send(self, body: bytes, idempotency_key: str) -> Receipt:
        # An API that drops repeats with the same key lets Gatepost repeat a send whose answer was lost: set
        # `replay_safe` in the class to the seconds for which it does.
        headers = {"Idempotency-Key": idempotency_key}
        reply = await self._http.post("/v1/messages", body, headers=headers)
        wire.expect_success(reply, code=_error_code(reply), accepted={202})
        match reply.json():
            case {"id": str(provider_id)}:
                return Receipt(provider_id[:255])
        # A success, but not from this API: the message may have been sent or not.
        raise Uncertain("the answer is not from this API: check base_url", code=str(reply.status))

    # </send>
    async def _get(self, path: str, accepted: Collection[int] = (200,)) -> wire.Reply:
        reply = await self._http.get(path)
        wire.expect_success(reply, code=_error_code(reply), accepted=accepted)
        return reply


def _error_code(reply: wire.Reply) -> str:
    """Return the API's own code of an error; empty if there is none."""
    match reply.json():
        case {"error": {"code": code}}:
            return wire.safe_code(code)
    return ""
