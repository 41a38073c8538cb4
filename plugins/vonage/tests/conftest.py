"""Fixtures: the emulated Vonage, instances that send to it, webhook requests."""

import time
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from aiohttp import web

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey, WebhookRetry
from gatepost.model import WebhookRequest
from gatepost.testing.webhook_requests import WEBHOOK_URL, with_headers, without_header
from gatepost_vonage.plugin import Vonage
from gatepost_vonage.testing import VonageEmulator

# The keys of an instance for each channel.
CHANNELS = {
    "sms": {},
    "viber": {"channel": "viber", "default_sender": "Amazing Casino"},
    "whatsapp": {
        "channel": "whatsapp",
        "default_sender": "+447700900999",
        "template": {"name": "news", "language": "en-GB"},
    },
}


class Clock:
    """A clock that the test sets."""

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
def provider(vonage):
    return vonage


@pytest.fixture
def plugin_type(clock):
    class WithClock(Vonage):
        def __init__(self, settings, context):
            super().__init__(settings, context, clock)

    return WithClock


@pytest.fixture
def table(vonage):
    return {**vonage.table, "default_sender": "Amazing"}


@pytest.fixture
def opened(running):
    """``async with opened({"timeout": 1.0}, channel="viber", base_url=…) as plugin``: an instance inside its lifespan."""

    def instance(context=None, *, channel="sms", **keys):
        # Without a webhook_url reports go to the application's own.
        return running(context={"webhook_url": "", **(context or {})}, **CHANNELS[channel] | keys)

    return instance


@pytest.fixture
async def plugin(opened):
    async with opened() as instance:
        yield instance


@pytest.fixture
async def viber(opened):
    async with opened(channel="viber") as instance:
        yield instance


@pytest.fixture
async def whatsapp(opened):
    async with opened(channel="whatsapp") as instance:
        yield instance


@pytest.fixture
def request_for(signed, clock):
    """Create a webhook request as the plugin gets it, correctly signed by default."""

    def create(body, *, method="POST", query=None, at=None, authorization=None, forged=False):
        url = WEBHOOK_URL + (f"?{urlencode(query)}" if query else "")
        now = clock()
        request = signed(body, url=url, method=method, at=now, age=now - (at or now), forged=forged)
        if authorization is None:
            return request
        unsigned = without_header(request, "authorization")
        return with_headers(unsigned, {"Authorization": authorization}) if authorization else unsigned

    return create


_ANSWERS = {NoVerificationKey: 404, BadSignature: 401, BadWebhook: 400, WebhookRetry: 503}


@pytest.fixture
async def webhook(plugin, clock):
    """The plugin behind a real HTTP server, and the events that it translated."""

    server = SimpleNamespace(url="", events=[])

    async def answer(request):
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            report = await plugin.parse_webhook(
                WebhookRequest(
                    method=request.method,
                    url=str(request.url),
                    headers=headers,
                    body=await request.read(),
                    received_at=clock(),
                )
            )
        except tuple(_ANSWERS) as error:
            return web.Response(status=_ANSWERS[type(error)])
        server.events += report.events
        return web.Response(status=204)

    application = web.Application()
    application.router.add_route("*", "/webhooks/vonage-test", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/vonage-test"
    yield server
    await runner.cleanup()
