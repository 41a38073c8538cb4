"""The plugin's hooks."""

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ClassVar
from urllib.parse import quote

from gatepost import wire
from gatepost.errors import Faults, Rejected, Unavailable, Uncertain
from gatepost.hookspecs import Context, EmailSender, HasLifespan, HasPing, WebhookParser, hookimpl
from gatepost.model import Email, Receipt, Report, Secret, Status, WebhookRequest
from gatepost_postmark import reports
from gatepost_postmark.answers import Suppressed, expect_success
from gatepost_postmark.messages import mail_body
from gatepost_postmark.settings import Settings, check


class Postmark(HasLifespan, HasPing, EmailSender, WebhookParser):
    """One message stream of a Postmark server."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._timeout = context.timeout
        self._stream = f"/message-streams/{settings.message_stream}"
        faults = Faults(check(settings))
        with faults:
            self._http = wire.connect(
                settings.base_url,
                headers={
                    "Accept": "application/json",
                    "X-Postmark-Server-Token": settings.server_token.reveal(),
                },
                timeout=context.timeout,
                connections=context.concurrency,
                options=settings.connection,
            )
        faults.expect_none()
        if settings.server_token.reveal() == "POSTMARK_API_TEST":
            context.warn("server_token", "is Postmark's token for tests: mails are checked and not sent")

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to Postmark open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """Read the message stream, which costs nothing: it proves the token and the stream, but no credit."""
        reply = await self._http.get(self._stream)
        expect_success(reply)
        match reply.json():
            case {"MessageStreamType": "Transactional" | "Broadcasts", "ArchivedAt": None}:
                return
        problem = "this message stream sends no mail: it is an inbound one, or archived"
        raise Unavailable(problem, misconfigured=True)

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one mail. When Postmark has suppressed the recipient, ask for the reason within the same time."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        reply = await self._http.post("/email", mail_body(message, self._settings))
        try:
            expect_success(reply)
        except Suppressed as error:
            reason, code = error.reason, error.code
        else:
            match reply.json():
                case {"ErrorCode": 0, "MessageID": str(provider_id)}:
                    return Receipt(wire.safe_id(provider_id))
            raise Uncertain("the answer is not Postmark's: check base_url", code=str(reply.status))
        raise Rejected(reason, code=code, status=await self._suppression_status(message.recipient, deadline))

    async def _suppression_status(self, recipient: Secret, deadline: float) -> Status | None:
        """Return what the recipient's suppression proves; None where Postmark does not say it in time."""
        query = f"EmailAddress={quote(recipient.reveal(), safe='')}"
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._http.get(f"{self._stream}/suppressions/dump?{query}")
        except (Unavailable, TimeoutError):
            return None
        match reply.json():
            case {"Suppressions": [{"SuppressionReason": reason, "Origin": origin}]}:
                return reports.suppression_status(reason, origin)
        return None

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Check the user name and password of a webhook, then translate it."""
        settings = self._settings
        translate = partial(reports.read_report, stream=settings.message_stream)
        return await wire.read_webhook(request, translate, settings.webhook_basic, setting="webhook_basic")
