"""Fixtures: the emulated SendGrid, and the class that sends to it; the rest is gatepost.testing's."""

import pytest

from gatepost_sendgrid import SendGrid
from gatepost_sendgrid.testing import SendGridEmulator


@pytest.fixture
async def provider():
    async with SendGridEmulator() as emulator:
        yield emulator


@pytest.fixture
def plugin_type():
    return SendGrid
