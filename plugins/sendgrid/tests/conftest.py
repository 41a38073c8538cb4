"""Fixtures: the emulated SendGrid, instances that send to it, webhook requests."""

import time
from contextlib import asynccontextmanager

import pytest

from gatepost.hookspecs import Context
from gatepost.model import Email, Mailbox, Secret, WebhookRequest
from gatepost.observe import logs
from gatepost_sendgrid import SendGrid, Settings
from gatepost_sendgrid.testing import SendGridEmulator

RECIPIENT = "canary.4711@mail.example"
MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"


@pytest.fixture
async def provider():
    async with SendGridEmulator() as emulator:
        yield emulator


@pytest.fixture
def make_plugin(provider):
    """Create an instance that sends to the emulator; keywords replace the default settings."""

    def create(*, timeout=10.0, concurrency=16, **settings):
        defaults = {
            "api_key": Secret(provider.api_key),
            "base_url": provider.base_url,
            "webhook_public_key": provider.public_key,
        }
        context = Context(name="sendgrid", log=logs.get("test"), timeout=timeout, concurrency=concurrency)
        return SendGrid(Settings(**defaults | settings), context)

    return create


@pytest.fixture
def running(make_plugin):
    """Create such an instance, and keep it inside its lifespan while the block runs."""

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
    def create(**fields):
        defaults = {
            "id": MESSAGE_ID,
            "recipient": Secret(RECIPIENT),
            "sender": Mailbox("news@brand.example", "Brand"),
            "subject": "Grüße 🎲",
            "html": "<p>Hello</p>",
            "text": "Hello",
            "lifetime": 3600.0,
        }
        return Email(**defaults | fields)

    return create


@pytest.fixture
def make_request(provider):
    """Create a webhook request as the plugin gets it, signed by the provider by default."""

    def create(body, *, at=None, received_at=None, forged=False, headers=None):
        now = time.time()
        signed = provider.sign(body, now if at is None else at, forged=forged) if headers is None else headers
        return WebhookRequest(
            method="POST",
            url="https://gatepost.example/webhooks/sendgrid",
            headers={name.lower(): value for name, value in signed.items()},
            body=body,
            received_at=now if received_at is None else received_at,
        )

    return create
