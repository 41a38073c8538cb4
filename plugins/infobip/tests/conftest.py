"""Fixtures: the emulated Infobip, and instances for each channel that send to it."""

import pytest

from gatepost_infobip import Infobip
from gatepost_infobip.testing import InfobipEmulator

CHANNELS = {
    "sms": {"default_sender": "Amazing"},
    "viber": {"channel": "viber", "default_sender": "Amazing Casino"},
    "whatsapp": {
        "channel": "whatsapp",
        "default_sender": "+447700900999",
        "template": {"name": "news", "language": "en_GB"},
    },
}
"""The keys of an instance of each channel."""


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def infobip():
    async with InfobipEmulator() as emulator:
        yield emulator


@pytest.fixture
def provider(infobip):
    return infobip


@pytest.fixture
def plugin_type():
    return Infobip


@pytest.fixture
def table(infobip):
    return {**infobip.table, **CHANNELS["sms"]}


@pytest.fixture
def on(running):
    """``async with on("viber", category="promotion") as plugin``: an instance of a channel inside its lifespan."""

    def instance(channel, context=None, **keys):
        return running(context={"webhook_url": "", **(context or {})}, **CHANNELS[channel] | keys)

    return instance
