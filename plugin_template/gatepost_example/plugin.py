"""The hooks: what Gatepost calls."""

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
    people,  # <contacts>
    reports,  # <send>
)
from gatepost_example.settings import Settings, check

# Bytes of a report from which on reading it is a thread's work: more than a millisecond of CPU.
_LARGE = 32 * 1024  # <send>

# An error's code is kept for the operator, so it must be one: its free text likes to quote addresses.
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

    api_version: ClassVar[int] = 1
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        check(settings)
        self._settings = settings
        self._context = context

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep connections to the API open."""
        async with wire.connect(
            self._settings.base_url,
            timeout=self._context.timeout,
            connections=self._context.concurrency,
            headers={"Authorization": f"Bearer {self._settings.api_key.reveal()}"},
        ) as self._http:
            yield

    @hookimpl
    async def ping(self) -> None:
        """Read the account, which costs nothing; proves that the key is good."""
        await self._get("/v1/account")

    # <contacts>
    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        """Ask the API for this user."""
        path = people.path(ext_user_id)
        return people.contact(await self._get(path), ext_user_id) if path else None

    # </contacts>
    # <email>
    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Hand one email to the API."""
        return await self._send(messages.email(message, report_to=self._context.webhook_url))

    # </email>
    # <sms>
    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Hand one text message to the API."""
        body = messages.sms(
            message,
            default_sender=self._settings.default_sender,
            report_to=self._context.webhook_url,
        )
        return await self._send(body)

    # </sms>
    # <send>
    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a report's signature, then translate it."""
        secret = self._settings.webhook_secret
        if secret is None:
            raise NoVerificationKey("webhook_secret is not set")
        reports.verify(request, secret.reveal())
        if len(request.body) > _LARGE:
            return await asyncio.to_thread(reports.translate, request)
        return reports.translate(request)

    async def _send(self, body: bytes) -> Receipt:
        reply = await self._http.post("/v1/messages", body)
        wire.expect_success(reply, code=_code(reply))
        answer = reply.json()
        provider_id = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(provider_id, str):
            # A yes, but not one of this API's: who knows what has become of the message.
            raise Uncertain("the answer is none of Example's: check base_url", code=str(reply.status))
        return Receipt(provider_id[:255])

    # </send>
    async def _get(self, path: str) -> wire.Reply:
        """Ask for something; Unavailable where no good answer comes. 404 is one where it may be."""
        try:
            reply = await self._http.get(path)
            if reply.status != 404:
                wire.expect_success(reply, code=_code(reply))
        except (Rejected, Uncertain) as error:
            # Nothing was to be sent, so nothing can be uncertain, and no message be refused.
            refused = Unavailable(error.reason, code=error.code)
        else:
            return reply
        raise refused


def _code(reply: wire.Reply) -> str:
    """The API's own code of what went wrong; empty where there is none."""
    match reply.json():
        case {"error": {"code": str(code)}} if _CODE.fullmatch(code):
            return code
    return ""
