"""The plugin's hooks."""

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from gatepost import wire
from gatepost.errors import Faults, Unavailable, Uncertain
from gatepost.hookspecs import Context, EmailSender, HasLifespan, HasPing, WebhookParser, hookimpl
from gatepost.model import Email, Receipt, Report, WebhookRequest
from gatepost_mailgun import reports
from gatepost_mailgun.answers import MISSING, expect_success
from gatepost_mailgun.messages import encode_form, mail_form
from gatepost_mailgun.settings import Settings, check


class Mailgun(HasLifespan, HasPing, EmailSender, WebhookParser):
    """One sending domain of a Mailgun account."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        faults = Faults(check(settings))
        with faults:
            self._http = wire.connect(
                settings.base_url,
                headers=wire.basic_auth("api", settings.api_key),
                timeout=context.timeout,
                connections=context.concurrency,
                options=settings.connection,
            )
        faults.expect_none()
        self._settings = settings
        self._path = f"/v3/{settings.domain}/messages"

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to Mailgun open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """Send an empty form, which Mailgun refuses for its missing recipient: a sending key may do nothing else."""
        body, headers = encode_form([])
        reply = await self._http.request(
            "POST", f"{self._path}.mime", body=body, headers=headers, sends=False
        )
        try:
            expect_success(reply)
        except Unavailable as error:
            if error.code == MISSING:
                return
            raise
        raise Unavailable("the answer is not Mailgun's: check base_url", misconfigured=True)

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one mail; raise Uncertain for a success that is not Mailgun's."""
        body, headers = encode_form(mail_form(message, self._settings))
        reply = await self._http.post(self._path, body, headers=headers)
        expect_success(reply)
        match reply.json():
            case {"id": str(message_id)}:
                return Receipt(reports.mail_id(message_id))
        raise Uncertain("the answer is not Mailgun's: check base_url", code=str(reply.status))

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify the signature in a webhook's body, then translate its event."""
        settings = self._settings
        known = settings if settings.webhook_signing_key else None
        return await wire.read_webhook(request, reports.read_report, known, setting="webhook_signing_key")
