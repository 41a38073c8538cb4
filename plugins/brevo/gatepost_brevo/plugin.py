"""The plugin's hooks."""

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from gatepost import wire
from gatepost.errors import Faults
from gatepost.hookspecs import Context, EmailSender, HasLifespan, HasPing, SmsSender, WebhookParser, hookimpl
from gatepost.model import Email, Receipt, Report, Sms, WebhookRequest
from gatepost_brevo import answers, messages, reports
from gatepost_brevo.settings import Settings, check


class Brevo(HasLifespan, HasPing, EmailSender, SmsSender, WebhookParser):
    """A Brevo account, for one channel: an instance has only that channel's hook."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings
    retry_status: ClassVar[int] = 429

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._webhook_url = context.webhook_url
        faults = Faults(check(settings))
        with faults:
            self._http = wire.connect(
                settings.base_url,
                timeout=context.timeout,
                connections=context.concurrency,
                headers={"api-key": settings.api_key.reveal(), "Accept": "application/json"},
                options=settings.connection,
            )
        faults.expect_none()
        is_email = settings.channel == "email"
        # Only mails have a key. Brevo remembers it for 15 minutes, or for 30 as it says elsewhere.
        self.replay_safe = 840.0 if is_email else 0.0
        setattr(self, "send_sms" if is_email else "send_email", None)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to Brevo open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """Read the account, which costs nothing: it proves the key, but no credit or sender."""
        answers.expect_success(await self._http.get("/v3/account"))

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one mail; a repeat that Brevo dropped is a success too."""
        reply = await self._http.post("/v3/smtp/email", messages.email_body(message))
        return answers.receipt(reply, has_key=True)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message."""
        body = messages.sms_body(message, self._settings, self._webhook_url)
        return answers.receipt(await self._http.post("/v3/transactionalSMS/sms", body), has_key=False)

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify who sends a webhook, then translate it."""
        key = self._settings if self._settings.webhook_token or self._settings.webhook_basic else None
        names = "webhook_token or webhook_basic"
        return await wire.read_webhook(request, reports.read_report, key, setting=names)
