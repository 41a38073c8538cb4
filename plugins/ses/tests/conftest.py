"""Fixtures: the emulated SES, and the class that sends to it; the rest is gatepost.testing's."""

import pytest

from gatepost_ses import Ses
from gatepost_ses.testing import SesEmulator


@pytest.fixture
async def provider():
    async with SesEmulator() as emulator:
        yield emulator


@pytest.fixture
def plugin_type():
    return Ses
