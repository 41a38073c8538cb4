"""Fixtures: the emulated Twilio, and instances that send to it."""

import pytest

from gatepost_twilio import Twilio
from gatepost_twilio.testing import TwilioEmulator


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
