"""The plugin's hooks."""

from contextlib import AbstractAsyncContextManager
from typing import ClassVar
from urllib.parse import quote

from gatepost import wire
from gatepost.errors import Faults, Unavailable
from gatepost.hookspecs import Context, HasLifespan, HasPing, SmsSender, WebhookParser, hookimpl
from gatepost.model import Receipt, Report, Sms, WebhookRequest
from gatepost_infobip.messages import send_request
from gatepost_infobip.reports import read_report
from gatepost_infobip.settings import Settings, find_faults, sender_on
from gatepost_infobip.verdicts import error_code, read_answer


class Infobip(HasLifespan, HasPing, SmsSender, WebhookParser):
    """One channel of an Infobip account."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        faults = Faults(find_faults(settings))
        with faults:
            self._http = wire.connect(
                settings.base_url,
                timeout=context.timeout,
                connections=context.concurrency,
                headers={"Authorization": f"App {settings.api_key.reveal()}", "Accept": "application/json"},
                options=settings.connection,
                max_reply=2**20,  # As large as a list of templates may be.
            )
        faults.expect_none()
        self._settings, self._webhook_url, token = settings, "", settings.webhook_token
        # A message names the address only with the token: without it Gatepost would refuse the reports.
        if token and context.webhook_url:
            self._webhook_url = f"{context.webhook_url}?token={quote(token.reveal(), safe='')}"

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep connections to Infobip open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """Ask for the reports on a message that does not exist, or for WhatsApp's templates: neither costs anything."""
        settings, template = self._settings, self._settings.template
        resource, version = "reports?limit=1&messageId=gatepost-check", 3 if settings.channel == "sms" else 2
        if template:
            resource = f"senders/{sender_on('whatsapp', settings.default_sender)}/templates"
        reply = await self._http.get(f"/{settings.channel}/{version}/{resource}")
        wire.expect_success(reply, code=error_code(reply), misconfigured=wire.ANY_REFUSAL)
        match reply.json():
            case {"templates": [*found]} if template:
                wanted = {"name": template.name, "language": template.language, "status": "APPROVED"}
                if not any(isinstance(one, dict) and wanted.items() <= one.items() for one in found):
                    problem = "the sender has no approved template of this name and language"
                    raise Unavailable(problem, code="EC_INVALID_TEMPLATE", misconfigured=True)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one message on the instance's channel."""
        reply = await self._http.post(*send_request(message, self._settings, self._webhook_url))
        wire.expect_success(reply, code=error_code(reply))
        return read_answer(reply)

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Check a webhook by the token or the password, then translate it."""
        key = self._settings if self._settings.webhook_token or self._settings.webhook_basic else None
        return await wire.read_webhook(request, read_report, key, setting="webhook_token or webhook_basic")
