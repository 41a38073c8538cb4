"""Fixtures: the emulated Twilio, and instances that send to it."""

from types import SimpleNamespace

import pytest
from aiohttp import web

from gatepost.testing.webhook_requests import webhook_request
from gatepost_twilio import Twilio
from gatepost_twilio.testing import TwilioEmulator


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def twilio():
    async with TwilioEmulator() as emulator:
        yield emulator


@pytest.fixture
def provider(twilio):
    return twilio


@pytest.fixture
def plugin_type():
    return Twilio


@pytest.fixture
def whatsapp(twilio):
    """The keys of an instance for WhatsApp."""
    return {"channel": "whatsapp", "default_sender": "+447700900999", "template": twilio.template}


@pytest.fixture
async def webhook():
    """A real HTTP server with these answers, and the requests that came to it."""
    server = SimpleNamespace(url="", answers=[], requests=[])

    async def handle(request):
        own = webhook_request(str(request.url), await request.read(), headers=request.headers)
        server.requests.append(own)
        return web.Response(status=server.answers.pop(0))

    application = web.Application()
    application.router.add_post("/webhooks/twilio", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/twilio"
    yield server
    await runner.cleanup()
