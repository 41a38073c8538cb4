"""Fixtures: the emulated Mailgun, and the class that sends to it; the rest is gatepost.testing's."""

import pytest

from gatepost_mailgun import Mailgun
from gatepost_mailgun.testing import MailgunEmulator


@pytest.fixture
async def provider():
    async with MailgunEmulator() as emulator:
        yield emulator


@pytest.fixture
def plugin_type():
    return Mailgun
