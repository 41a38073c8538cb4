"""Fixtures: the emulated Sinch, and the class that sends to it; the rest is gatepost.testing's."""

import pytest

from gatepost_sinch import Sinch
from gatepost_sinch.testing import SinchEmulator


@pytest.fixture
async def provider():
    async with SinchEmulator() as emulator:
        yield emulator


@pytest.fixture
def plugin_type():
    return Sinch
