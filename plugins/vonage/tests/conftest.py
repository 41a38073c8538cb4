import time
import uuid
from contextlib import asynccontextmanager

import msgspec
import pytest
import structlog
from aiohttp import web
from gatepost_vonage.plugin import Vonage
from gatepost_vonage.settings import Settings

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey, WebhookRetry
from gatepost.hookspecs import Context
from gatepost.model import Secret, Sms, WebhookRequest
from gatepost.testing.vonage import VonageEmulator

NUMBER = "+447700900123"


class Clock:
    """Seconds since the epoch, moved by the test."""

    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def vonage(clock):
    async with VonageEmulator(clock=clock) as emulator:
        yield emulator


@pytest.fixture
def settings(vonage):
    """Settings for the emulator, with what a test wants otherwise."""

    def make(**other):
        return Settings(
            **{
                "application_id": vonage.application_id,
                "private_key": Secret(vonage.private_key),
                "signature_secret": Secret(vonage.signature_secret),
                "default_sender": "Amazing",
                "base_url": vonage.base_url,
            }
            | other
        )

    return make


@pytest.fixture
def opened(settings, clock):
    """``async with opened(timeout=…, base_url=…) as plugin``: an instance inside its lifespan."""

    @asynccontextmanager
    async def instance(*, timeout=10.0, concurrency=16, webhook_url="", **other):
        context = Context(
            name="vonage-test",
            log=structlog.get_logger(),
            timeout=timeout,
            concurrency=concurrency,
            webhook_url=webhook_url,
        )
        plugin = Vonage(settings(**other), context, clock)
        async with plugin.lifespan():
            yield plugin

    return instance


@pytest.fixture
async def plugin(opened):
    async with opened() as instance:
        yield instance


@pytest.fixture
def sms():
    def make(text="Hello", **other):
        fields = {"id": str(uuid.uuid4()), "recipient": Secret(NUMBER), "sender": None, "lifetime": 14_400.0}
        return Sms(text=text, **fields | other)

    return make


@pytest.fixture
def request_for(vonage, clock):
    """A webhook request as it reaches the plugin, genuine unless the test says otherwise."""

    def make(body, *, method="POST", query=None, at=None, authorization=None, forged=False):
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        signed = vonage.sign(raw, clock() if at is None else at, forged=forged)["Authorization"]
        authorization = signed if authorization is None else authorization
        return WebhookRequest(
            method=method,
            url="https://gatepost.example/webhooks/vonage-test",
            headers={"authorization": authorization} if authorization else {},
            query=query or {},
            body=raw,
            received_at=clock(),
        )

    return make


_ANSWERS = {NoVerificationKey: 404, BadSignature: 401, BadWebhook: 400, WebhookRetry: 503}


@pytest.fixture
async def webhook(plugin, clock):
    """The plugin behind a real HTTP server; ``events`` is what it understood."""

    class Webhook:
        url = ""
        events = []
        ignored = []

    heard = Webhook()
    heard.events, heard.ignored = [], []

    async def answer(request):
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            report = await plugin.parse_webhook(
                WebhookRequest(
                    method=request.method,
                    url=str(request.url),
                    headers=headers,
                    query=dict(request.query),
                    body=await request.read(),
                    received_at=clock(),
                )
            )
        except tuple(_ANSWERS) as error:
            return web.Response(status=_ANSWERS[type(error)])
        heard.events += report.events
        heard.ignored.append(report.ignored)
        return web.Response(status=204)

    application = web.Application()
    application.router.add_route("*", "/webhooks/vonage-test", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    heard.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/vonage-test"
    yield heard
    await runner.cleanup()
