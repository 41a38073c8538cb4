"""Fixtures: an emulated Brevo of each channel, and instances that send to them; the rest is gatepost.testing's."""

import pytest

from gatepost_brevo import Brevo
from gatepost_brevo.testing import BrevoEmulator, BrevoSmsEmulator


@pytest.fixture
async def provider(request):
    async with getattr(request.cls, "emulator", BrevoEmulator)() as emulator:
        yield emulator


@pytest.fixture
def plugin_type():
    return Brevo


@pytest.fixture
async def texts():
    """An emulated account that sends text messages."""
    async with BrevoSmsEmulator() as emulator:
        yield emulator


@pytest.fixture
def texting(texts, running):
    """``async with texting(default_sender="Amazing") as plugin``: an instance for text messages."""

    def instance(context=None, **keys):
        return running(context=context, **{"webhook_token": None, **texts.table, **keys})

    return instance
