"""The hooks that Gatepost calls; ``gatepost.hookspecs`` says what each of them promises."""

import asyncio  # <send>
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from gatepost import wire
from gatepost.errors import (
    NoVerificationKey,  # <send>
    Rejected,
    Unavailable,
    Uncertain,
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
from gatepost_example.settings import Settings, check

# Translating a larger report takes more than a millisecond of CPU, so a thread does it.
_MAX_INLINE_BYTES = 32 * 1024  # <send>

# Operators see the code of an error. Only a code passes, because free text may quote an address.
_CODE = re.compile(r"[a-z_]{1,40}")


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
        check(settings)
        self._settings = settings
        self._context = context

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep a pool of connections to the API open."""
        async with wire.connect(
            self._settings.base_url,
            timeout=self._context.timeout,
            connections=self._context.concurrency,
            headers={"Authorization": f"Bearer {self._settings.api_key.reveal()}"},
        ) as self._http:
            yield

    @hookimpl
    async def ping(self) -> None:
        """Read the account, which costs nothing and proves that the key is valid."""
        await self._get("/v1/account")

    # <contacts>
    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        """Look the user up."""
        path = users.lookup_path(ext_user_id)
        return users.contact(await self._get(path), ext_user_id) if path else None

    # </contacts>
    # <email>
    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one email."""
        return await self._send(messages.email_body(message, webhook_url=self._context.webhook_url))

    # </email>
    # <sms>
    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message."""
        body = messages.sms_body(
            message,
            default_sender=self._settings.default_sender,
            webhook_url=self._context.webhook_url,
        )
        return await self._send(body)

    # </sms>
    # <send>
    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a report's signature, then translate the report."""
        secret = self._settings.webhook_secret
        if secret is None:
            raise NoVerificationKey("webhook_secret is not set")
        reports.verify(request, secret.reveal())
        if len(request.body) > _MAX_INLINE_BYTES:
            return await asyncio.to_thread(reports.translate, request)
        return reports.translate(request)

    async def _send(self, body: bytes) -> Receipt:
        reply = await self._http.post("/v1/messages", body)
        wire.expect_success(reply, code=_error_code(reply))
        answer = reply.json()
        provider_id = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(provider_id, str):
            # A success, but not from this API: the message may have been sent or not.
            raise Uncertain("the answer is not from Example: check base_url", code=str(reply.status))
        return Receipt(provider_id[:255])

    # </send>
    async def _get(self, path: str) -> wire.Reply:
        """Return a successful answer or a 404; raise Unavailable for any other."""
        try:
            reply = await self._http.get(path)
            if reply.status != 404:
                wire.expect_success(reply, code=_error_code(reply))
        except (Rejected, Uncertain) as error:
            # These two are about messages, and a GET sends none.
            unavailable = Unavailable(error.reason, code=error.code)
        else:
            return reply
        # Raised here, so that the original error is not its context.
        raise unavailable


def _error_code(reply: wire.Reply) -> str:
    """Return the API's own code of an error; empty if there is none."""
    match reply.json():
        case {"error": {"code": str(code)}} if _CODE.fullmatch(code):
            return code
    return ""
