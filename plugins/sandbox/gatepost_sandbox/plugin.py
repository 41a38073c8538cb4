"""The plugin itself: the hooks, and nothing that could be elsewhere."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from gatepost.errors import ConfigError, Fault, NoVerificationKey, Rejected, Unavailable, Uncertain
from gatepost.hookspecs import (
    Context,
    EmailSender,
    HasLifespan,
    HasPing,
    SmsSender,
    WebhookParser,
    hookimpl,
)
from gatepost.model import Email, Receipt, Report, Secret, Sms, WebhookRequest
from gatepost.wire import connect
from gatepost_sandbox import behaviour, compose, folder, reports
from gatepost_sandbox.behaviour import Answer, Behaviour
from gatepost_sandbox.reporter import Reporter

_REPORT_TIMEOUT = 10.0
"""Seconds that the gateway has to answer a report."""

_MUCH = 32 * 1024
"""Bytes of a report from which reading it takes a millisecond and more; our own have 8,000 at the most."""

_Seconds = Annotated[float, Meta(ge=0, le=3600)]


class SandboxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What stands in the plugin's table."""

    folder: Annotated[
        Path,
        Meta(
            description="where the messages land, one file each; made where there is none",
            examples=["mailbox"],
        ),
    ]
    webhook_secret: Annotated[
        Secret | None,
        Meta(description="signs the reports and verifies them; without it nothing is reported"),
    ] = None
    report_after: Annotated[
        _Seconds,
        Meta(description="seconds from a message to its first report, and from each report to the next"),
    ] = 0.2
    slow: Annotated[
        _Seconds,
        Meta(description="seconds that a message to a slow recipient takes; less than timeout"),
    ] = 0.5
    default_sender: Annotated[str, Meta(description="the sender of text messages that bring none")] = (
        "Sandbox"
    )


class Sandbox(HasLifespan, HasPing, EmailSender, SmsSender, WebhookParser):
    """A provider that needs no account: a folder for a mailbox, and reports like a real one's."""

    api_version: ClassVar[int] = 1
    settings_type: ClassVar[type[msgspec.Struct]] = SandboxSettings

    def __init__(self, settings: SandboxSettings, context: Context) -> None:
        faults = []
        if settings.slow >= context.timeout:
            faults.append(Fault("slow", f"must be less than this plugin's timeout of {context.timeout:g} s"))
        if settings.webhook_secret is not None and not settings.webhook_secret:
            faults.append(Fault("webhook_secret", "is empty: set a secret, or leave the key out"))
        if faults:
            raise ConfigError(faults)
        self._settings = settings
        self._context = context
        self._reporter: Reporter | None = None

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        await asyncio.to_thread(folder.prepare, self._settings.folder)
        secret, url = self._settings.webhook_secret, self._context.webhook_url
        if not secret or not url:
            lacking = "webhook_secret" if not secret else "server.public_url"
            self._context.log.info("nothing will be reported", lacking=lacking)
            yield
            return
        async with (
            connect(url, timeout=_REPORT_TIMEOUT, connections=1) as http,
            self._reporting(Reporter(http, secret, self._context.log, after=self._settings.report_after)),
        ):
            yield

    @hookimpl
    async def ping(self) -> None:
        if not await asyncio.to_thread(folder.usable, self._settings.folder):
            raise Unavailable("the folder can't be written to", code="folder", misconfigured=True)

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        what = behaviour.of_email(message.recipient)
        return await self._send(what, message.id, ".eml", lambda: compose.eml(message))

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        sender = message.sender or self._settings.default_sender
        if not sender:
            raise Rejected("no sender: the message brings none and default_sender is empty", code="sender")
        what = behaviour.of_number(message.recipient)
        return await self._send(what, message.id, ".json", lambda: compose.sms_json(message, sender))

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        if self._settings.webhook_secret is None:
            raise NoVerificationKey("webhook_secret is not set")
        reports.verify(self._settings.webhook_secret, request)
        if len(request.body) > _MUCH:
            return await asyncio.to_thread(reports.translate, request)
        return reports.translate(request)

    async def _send(
        self, what: Behaviour, message_id: str, suffix: str, content: Callable[[], bytes]
    ) -> Receipt:
        if what.answer is Answer.REFUSED:
            raise Rejected("the sandbox refuses this recipient", code="reject")
        if what.answer is Answer.DOWN:
            raise Unavailable("the sandbox plays a provider that is down", code="down")
        if what.answer is Answer.LATE:
            await asyncio.sleep(self._settings.slow)
        try:
            name = await asyncio.to_thread(
                lambda: folder.put(self._settings.folder, message_id, suffix, content())
            )
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "")
            raise Unavailable("the folder can't be written to", code=code, misconfigured=True) from None
        if self._reporter:
            self._reporter.report(message_id, what.reports)
        if what.answer is Answer.LOST:
            raise Uncertain("the sandbox plays a connection that is lost", code="lost")
        return Receipt(name)

    @asynccontextmanager
    async def _reporting(self, reporter: Reporter) -> AsyncIterator[None]:
        """Report while the block runs; what waits at its end is told of, and dropped."""
        task = asyncio.create_task(reporter.run(), name="sandbox reports")
        self._reporter = reporter
        try:
            yield
        finally:
            self._reporter = None
            task.cancel()
            await asyncio.wait([task])
            if reporter.waiting:
                self._context.log.info("ended before everything was reported", messages=reporter.waiting)
            if not task.cancelled():
                # It ended by itself, which only an error can bring about: let it be heard.
                task.result()
