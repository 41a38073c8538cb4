"""Fixtures: the emulated Postmark, and the class that sends to it; the rest is gatepost.testing's."""

import pytest

from gatepost_postmark import Postmark
from gatepost_postmark.testing import PostmarkEmulator


@pytest.fixture
async def provider():
    async with PostmarkEmulator() as emulator:
        yield emulator


@pytest.fixture
def plugin_type():
    return Postmark
