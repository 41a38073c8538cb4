"""The plugin's hooks."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import msgspec

from gatepost import wire
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.hookspecs import (
    Context,
    EmailSender,
    HasLifespan,
    HasPing,
    SmsSender,
    WebhookParser,
    hookimpl,
)
from gatepost.model import Email, Receipt, Report, Sms, WebhookRequest
from gatepost_sandbox import folder, messages, reports
from gatepost_sandbox.reporter import Reporter
from gatepost_sandbox.scenarios import Scenario, SendOutcome, email_scenario, sms_scenario
from gatepost_sandbox.settings import Settings, check

_REPORT_TIMEOUT = 10.0
"""Seconds that the gateway may take to answer a report."""


class Sandbox(HasLifespan, HasPing, EmailSender, SmsSender, WebhookParser):
    """A provider without an account: it writes messages into a folder, and reports as a real provider does."""

    api_version: ClassVar[int] = 2
    delivers: ClassVar[bool] = False
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        check(settings, timeout=context.timeout)
        self._settings = settings
        self._context = context
        self._reporter: Reporter | None = None

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Prepare the folder, and send reports while the gateway runs."""
        await asyncio.to_thread(folder.prepare, self._settings.folder)
        secret, url = self._settings.webhook_secret, self._context.webhook_url
        if not secret or not url:
            missing = "webhook_secret" if not secret else "server.public_url"
            self._context.log.info("reports_disabled", missing=missing)
            yield
            return
        async with (
            wire.connect(url, timeout=_REPORT_TIMEOUT, connections=1) as http,
            self._reporting(Reporter(http, secret, self._context.log, delay=self._settings.report_after)),
        ):
            yield

    @hookimpl
    async def ping(self) -> None:
        if not await asyncio.to_thread(folder.is_writable, self._settings.folder):
            raise Unavailable("the folder can't be written to", code="folder", misconfigured=True)

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        scenario = email_scenario(message.recipient)
        return await self._send(scenario, message.id, ".eml", lambda: messages.email_file(message))

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        sender = wire.sender_of(message, self._settings.default_sender)
        scenario = sms_scenario(message.recipient)
        return await self._send(scenario, message.id, ".json", lambda: messages.sms_file(message, sender))

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        secret = self._settings.webhook_secret
        return await wire.read_webhook(request, reports.read_report, secret, setting="webhook_secret")

    async def _send(
        self, scenario: Scenario, message_id: str, suffix: str, content: Callable[[], bytes]
    ) -> Receipt:
        if scenario.outcome is SendOutcome.REJECTED:
            raise Rejected("the sandbox refuses this recipient", code="reject")
        if scenario.outcome is SendOutcome.UNAVAILABLE:
            raise Unavailable("the sandbox simulates a provider that is down", code="down")
        if scenario.outcome is SendOutcome.DELAYED:
            await asyncio.sleep(self._settings.slow)
        try:
            name = await asyncio.to_thread(
                lambda: folder.write_message(self._settings.folder, message_id, suffix, content())
            )
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "")
            raise Unavailable("the folder can't be written to", code=code, misconfigured=True) from None
        if self._reporter:
            self._reporter.report(message_id, scenario.reports)
        if scenario.outcome is SendOutcome.UNCERTAIN:
            raise Uncertain("the sandbox simulates a lost connection", code="lost")
        return Receipt(name)

    @asynccontextmanager
    async def _reporting(self, reporter: Reporter) -> AsyncIterator[None]:
        """Report while the block runs; at its end log how many reports are dropped."""
        task = asyncio.create_task(reporter.run(), name="sandbox reports")
        self._reporter = reporter
        try:
            yield
        finally:
            self._reporter = None
            task.cancel()
            await asyncio.wait([task])
            if reporter.pending:
                self._context.log.info("pending_reports_dropped", messages=reporter.pending)
            if not task.cancelled():
                # The task ended before it was cancelled, so it raised an error: raise it here.
                task.result()
