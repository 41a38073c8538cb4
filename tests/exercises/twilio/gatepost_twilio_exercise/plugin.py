"""The plugin's hooks."""

from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Literal

import msgspec

from gatepost import wire
from gatepost.errors import Faults, Rejected, Unavailable, Uncertain
from gatepost.hookspecs import Context, HasLifespan, HasPing, SmsSender, WebhookParser, hookimpl
from gatepost.model import Receipt, Report, Sms, Status, WebhookRequest
from gatepost_twilio_exercise import reports
from gatepost_twilio_exercise.settings import Settings, check

MAX_VALIDITY = 36_000
MAX_TEXT_LENGTH = 1_600

# Only the operator can change them, and they concern this sender or this country alone.
_SETTINGS_AT_TWILIO = {
    "21408": "the account may not send to this country: switch it on in the geographic permissions",
    "21606": "the sender can't send text messages: check the account's numbers",
}


class _Account(msgspec.Struct):
    status: Literal["active"]


class _Answer(msgspec.Struct):
    sid: str = ""
    num_segments: str | None = None
    code: int | None = None


class Twilio(HasLifespan, HasPing, SmsSender, WebhookParser):
    """A Twilio account."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._webhook_url = context.webhook_url
        self._account = f"/2010-04-01/Accounts/{settings.account_sid}"
        faults = Faults(check(settings))
        with faults:
            self._http = wire.connect(
                settings.base_url,
                timeout=context.timeout,
                connections=context.concurrency,
                headers=wire.basic_auth(settings.key_sid, settings.key_secret),
                options=settings.connection,
            )
        faults.expect_none()

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to Twilio open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """Read the account, which costs nothing; it must be active."""
        reply = await self._http.get(f"{self._account}.json")
        wire.expect_success(reply, misconfigured=wire.ANY_REFUSAL)
        if reply.decode(_Account) is None:
            raise Unavailable("the account is not active", code="account", misconfigured=True)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message."""
        reply = await self._http.post(f"{self._account}/Messages.json", self._form(message))
        answer = reply.decode(_Answer) or _Answer()
        code = wire.safe_code(answer.code)
        if code == reports.OPTED_OUT:
            raise Rejected("the user has opted out", code=code, status=Status.UNSUBSCRIBED)
        if code in _SETTINGS_AT_TWILIO:
            raise Unavailable(_SETTINGS_AT_TWILIO[code], code=code, misconfigured=True, content_only=True)
        wire.expect_success(reply, code=code, accepted={201})
        if not wire.safe_id(answer.sid):
            raise Uncertain("the answer is not from Twilio: check base_url", code="201")
        segments = answer.num_segments or ""
        return Receipt(answer.sid, parts=int(segments) if segments.isdecimal() else 0)

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a request of Twilio, then translate it."""
        token = self._settings.auth_token
        return await wire.read_webhook(request, reports.read_report, token, setting="auth_token")

    def _form(self, message: Sms) -> list[tuple[str, str]]:
        if len(message.text) > MAX_TEXT_LENGTH:
            raise Rejected(f"the text is longer than {MAX_TEXT_LENGTH} characters", code="21617")
        validity = max(1, min(int(message.lifetime), MAX_VALIDITY))
        form = [("To", message.recipient.reveal()), ("Body", message.text), ("ValidityPeriod", str(validity))]
        service = self._settings.messaging_service
        if service:
            form.append(("MessagingServiceSid", service))
        if message.sender or self._settings.default_sender or not service:
            form.append(("From", wire.sender_of(message, self._settings.default_sender)))
        if self._webhook_url:
            form.append(("StatusCallback", f"{self._webhook_url}?id={message.id}"))
        return form
