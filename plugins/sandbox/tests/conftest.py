"""Fixtures: the gateway's side of the webhook, sandbox instances, messages."""

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager

import pytest
import structlog
from aiohttp import web

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.hookspecs import Context
from gatepost.model import Email, Mailbox, Secret, Sms, WebhookRequest
from gatepost_sandbox import Sandbox, Settings

HTTP_STATUS = {NoVerificationKey: 404, BadSignature: 401, BadWebhook: 400}


class Gateway:
    """A gateway that hands each report to the plugin and answers as the core would."""

    def __init__(self):
        self.plugin = None
        self.next_statuses = deque()
        """HTTP statuses of the next answers, which refuse the reports; 0 closes the connection."""
        self.fixed_status = None
        """The HTTP status of every further answer."""
        self.answers = []
        self.events = []
        self.bodies = []
        self._changed = asyncio.Condition()

    async def handle(self, request):
        self.bodies.append(await request.read())
        status = self.next_statuses.popleft() if self.next_statuses else self.fixed_status
        if status is None:
            status = await self._parse(request)
        self.answers.append(status)
        async with self._changed:
            self._changed.notify_all()
        if not status:
            request.transport.close()
        return web.Response(status=status or 200)

    async def _parse(self, request):
        webhook = WebhookRequest(
            method=request.method,
            url=str(request.url),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
            received_at=time.time(),
        )
        try:
            report = await self.plugin.parse_webhook(webhook)
        except tuple(HTTP_STATUS) as error:
            return HTTP_STATUS[type(error)]
        assert not report.ignored
        self.events += report.events
        return 200

    async def until(self, condition):
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(condition)

    async def statuses(self, message_id, count):
        """Wait for at least ``count`` statuses of a message, and return them."""

        def reported():
            return [event.status.value for event in self.events if event.message_id == message_id]

        await self.until(lambda: len(reported()) >= count)
        return reported()


@pytest.fixture
async def gateway():
    server = Gateway()
    app = web.Application()
    app.router.add_route("*", "/webhooks/sandbox", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/sandbox"
    yield server
    await runner.cleanup()


@pytest.fixture
def log():
    """The plugin's log, as a list of dicts."""
    return structlog.testing.LogCapture()


@pytest.fixture
def build(tmp_path, log):
    """Create an instance; keywords are settings, except ``webhook_url`` and ``timeout``."""

    def create(*, webhook_url="", timeout=10.0, **settings):
        logger = structlog.wrap_logger(None, [log], structlog.stdlib.BoundLogger)
        context = Context(name="sandbox", log=logger, webhook_url=webhook_url, timeout=timeout)
        return Sandbox(Settings(**{"folder": tmp_path / "mail", **settings}), context)

    return create


@pytest.fixture
def running(build, gateway):
    """Create an instance that reports to the gateway without delay, and keep it open while the block runs."""

    @asynccontextmanager
    async def run(**settings):
        defaults = {
            "webhook_url": gateway.url,
            "webhook_secret": Secret("shared"),
            "report_after": 0.0,
            "slow": 0.01,
        }
        gateway.plugin = build(**{**defaults, **settings})
        async with gateway.plugin.lifespan():
            yield gateway.plugin

    return run


@pytest.fixture
def email():
    def create(recipient="anna@people.example", **fields):
        defaults = {
            "id": "6f1c2f0e-8f4e-4a51-9f0f-0b8d3c6a1e11",
            "sender": Mailbox("noreply@amazing.example", "Amazing"),
            "subject": "Hello",
            "html": "<p>Hello there</p>",
            "text": "Hello there",
            "lifetime": 60.0,
        }
        return Email(recipient=Secret(recipient), **{**defaults, **fields})

    return create


@pytest.fixture
def sms():
    def create(recipient="+447700900123", **fields):
        defaults = {
            "id": "2d0c5a9e-6b1f-4a3c-8d5e-7f9a0b1c2d3e",
            "sender": "Amazing",
            "text": "Hello there",
            "lifetime": 60.0,
        }
        return Sms(recipient=Secret(recipient), **{**defaults, **fields})

    return create
