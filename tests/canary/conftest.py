import asyncio

import pytest

from canary.gateway import EMAIL, PRIVATE_TEXT, SECRETS, Canary, Sink
from gatepost.testing.serving import stop
from gatepost.testing.smartico import Smartico
from gatepost_sendgrid.testing import SendGridEmulator
from gatepost_vonage.testing import VonageEmulator


@pytest.fixture
async def canary(tmp_path):
    async with Smartico(api_key=SECRETS["callback key"], authorization=SECRETS["authorization"]) as crm:
        canary = Canary(tmp_path, crm)
        yield canary
        canary.process.kill()


@pytest.fixture
async def sendgrid(canary):
    async with SendGridEmulator() as emulator:
        emulator.api_key = SECRETS["SendGrid key"]
        # The errors of a provider often quote the request.
        emulator.error = lambda status, why: {
            "errors": [{"message": f"{why} {PRIVATE_TEXT}", "field": EMAIL}]
        }
        canary.tables["plugins.sendgrid"] = {
            "use": "sendgrid",
            "api_key": emulator.api_key,
            "base_url": emulator.base_url,
            "webhook_public_key": emulator.public_key,
            "timeout": 3.0,
        }
        yield emulator


@pytest.fixture
async def vonage(canary):
    async with VonageEmulator() as emulator:
        emulator.error = lambda status, why: {
            "type": "#1",
            "title": PRIVATE_TEXT,
            "detail": f"{why} {PRIVATE_TEXT}",
        }
        canary.tables["plugins.vonage"] = {
            "use": "vonage",
            "application_id": emulator.application_id,
            "private_key": emulator.private_key,
            "signature_secret": emulator.signature_secret,
            "base_url": emulator.base_url,
            "timeout": 3.0,
        }
        yield emulator


@pytest.fixture
async def sink(canary):
    sink = Sink()
    server = await asyncio.start_server(sink.session, "127.0.0.1", 0)
    canary.tables["plugins.relay"] = {
        "use": "smtp",
        "host": "127.0.0.1",
        "port": server.sockets[0].getsockname()[1],
        "security": "none",
        "username": "gatepost",
        "password": SECRETS["relay password"],
        "timeout": 3.0,
    }
    yield sink
    await stop(server)
    await sink.end()
