import time
from contextlib import asynccontextmanager

import pytest

from gatepost.hookspecs import Context
from gatepost.model import Email, Mailbox, Secret, WebhookRequest
from gatepost.observe import logs
from gatepost.testing.sendgrid import SendGridEmulator
from gatepost_sendgrid import SendGrid, Settings

RECIPIENT = "canary.4711@mail.example"
MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"


@pytest.fixture
async def vendor():
    async with SendGridEmulator() as emulator:
        yield emulator


@pytest.fixture
def make_plugin(vendor):
    """A plugin for the emulator, with these settings and this context beside the usual."""

    def make(*, timeout=10.0, concurrency=16, **settings):
        usual = {
            "api_key": Secret(vendor.api_key),
            "base_url": vendor.base_url,
            "webhook_public_key": vendor.public_key,
        }
        context = Context(name="sendgrid", log=logs.get("test"), timeout=timeout, concurrency=concurrency)
        return SendGrid(Settings(**usual | settings), context)

    return make


@pytest.fixture
def running(make_plugin):
    """The same, inside its lifespan."""

    @asynccontextmanager
    async def run(**options):
        plugin = make_plugin(**options)
        async with plugin.lifespan():
            yield plugin

    return run


@pytest.fixture
async def plugin(running):
    async with running() as plugin:
        yield plugin


@pytest.fixture
def make_email():
    def make(**fields):
        usual = {
            "id": MESSAGE_ID,
            "recipient": Secret(RECIPIENT),
            "sender": Mailbox("news@brand.example", "Brand"),
            "subject": "Grüße 🎲",
            "html": "<p>Hello</p>",
            "text": "Hello",
            "lifetime": 3600.0,
        }
        return Email(**usual | fields)

    return make


@pytest.fixture
def make_request(vendor):
    """A webhook request as it reaches the plugin, signed by the vendor unless told otherwise."""

    def make(body, *, at=None, received_at=None, forged=False, headers=None):
        now = time.time()
        signed = vendor.sign(body, now if at is None else at, forged=forged) if headers is None else headers
        return WebhookRequest(
            method="POST",
            url="https://gatepost.example/webhooks/sendgrid",
            headers={name.lower(): value for name, value in signed.items()},
            body=body,
            received_at=now if received_at is None else received_at,
        )

    return make
