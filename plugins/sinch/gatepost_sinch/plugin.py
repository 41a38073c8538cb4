"""The plugin's hooks."""

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from gatepost import wire
from gatepost.errors import Faults
from gatepost.hookspecs import Context, HasLifespan, HasPing, SmsSender, WebhookParser, hookimpl
from gatepost.model import Receipt, Report, Sms, WebhookRequest
from gatepost_sinch import batches, reports
from gatepost_sinch.settings import Settings, check


class Sinch(HasLifespan, HasPing, SmsSender, WebhookParser):
    """A service plan of Sinch's SMS API."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._verifies = settings.webhook_secret is not None or settings.webhook_basic is not None
        self._callback_url = context.webhook_url if self._verifies else None
        self._path = f"/xms/v1/{settings.service_plan_id}/batches"
        faults = Faults(check(settings))
        with faults:
            self._http = wire.connect(
                settings.url,
                timeout=context.timeout,
                connections=context.concurrency,
                headers=wire.bearer(settings.api_token),
                options=settings.connection,
            )
        faults.expect_none()

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to Sinch open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """List one batch, which costs nothing: it proves the service plan, its region and its token, but no credit."""
        batches.expect_success(await self._http.get(f"{self._path}?page_size=1"), 200)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message, as a batch of one recipient."""
        batch = batches.batch_of(
            message, default_sender=self._settings.default_sender, callback_url=self._callback_url
        )
        return batches.receipt(await self._http.post(self._path, batch))

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify who sends a callback, then translate it."""
        return await wire.read_webhook(
            request,
            reports.read_report,
            self._settings if self._verifies else None,
            setting="webhook_secret or webhook_basic",
        )
