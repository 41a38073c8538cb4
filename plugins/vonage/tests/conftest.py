"""Fixtures: the emulated Vonage, instances that send to it, webhook requests."""

import time
import uuid
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from urllib.parse import urlencode

import msgspec
import pytest
import structlog
from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey, WebhookRetry
from gatepost.hookspecs import Context
from gatepost.model import Secret, Sms, WebhookRequest
from gatepost_vonage.plugin import Vonage
from gatepost_vonage.settings import Settings, Template
from gatepost_vonage.testing import VonageEmulator

NUMBER = "+447700900123"
# The settings of an instance for each channel.
CHANNELS = {
    "sms": {},
    "viber": {"channel": "viber", "default_sender": "Amazing Casino"},
    "whatsapp": {
        "channel": "whatsapp",
        "default_sender": "+447700900999",
        "template": Template(name="news", language="en-GB"),
    },
}


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def skip_key_validation(monkeypatch):
    """Skip the arithmetic check of the RSA key: it takes 50 ms per instance, and the key is always the same."""
    quick = partial(load_pem_private_key, unsafe_skip_rsa_key_validation=True)
    monkeypatch.setattr("gatepost_vonage.tokens.load_pem_private_key", quick)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def vonage(clock):
    async with VonageEmulator(clock=clock) as emulator:
        yield emulator


@pytest.fixture
def settings(vonage):
    """Create settings for the emulator and a channel; keywords replace the defaults."""

    def create(channel="sms", **other):
        return Settings(
            **{
                "application_id": vonage.application_id,
                "private_key": Secret(vonage.private_key),
                "signature_secret": Secret(vonage.signature_secret),
                "default_sender": "Amazing",
                "base_url": vonage.base_url,
            }
            | CHANNELS[channel]
            | other
        )

    return create


@pytest.fixture
def opened(settings, clock):
    """``async with opened({"timeout": 1.0}, base_url=…) as plugin``: an instance inside its lifespan."""

    @asynccontextmanager
    async def instance(context=None, **other):
        instance_context = Context(name="vonage-test", log=structlog.get_logger(), **context or {})
        plugin = Vonage(settings(**other), instance_context, clock)
        async with plugin.lifespan():
            yield plugin

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
def sms():
    def create(text="Hello", **other):
        fields = {"id": str(uuid.uuid4()), "recipient": Secret(NUMBER), "sender": None, "lifetime": 14_400.0}
        return Sms(text=text, **fields | other)

    return create


@pytest.fixture
def request_for(vonage, clock):
    """Create a webhook request as the plugin gets it, correctly signed by default."""

    def create(body, *, method="POST", query=None, at=None, authorization=None, forged=False):
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        signed = vonage.sign(raw, clock() if at is None else at, forged=forged)["Authorization"]
        authorization = signed if authorization is None else authorization
        return WebhookRequest(
            method=method,
            url="https://gatepost.example/webhooks/vonage-test" + (f"?{urlencode(query)}" if query else ""),
            headers={"authorization": authorization} if authorization else {},
            body=raw,
            received_at=clock(),
        )

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
