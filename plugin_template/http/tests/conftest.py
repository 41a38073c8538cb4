"""What the fixtures of Gatepost's kit need to know: ``gatepost.testing.fixtures`` lists them."""

import pytest

from gatepost_example import Example
from gatepost_example.testing import ExampleEmulator


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def provider():
    """The running emulator."""
    async with ExampleEmulator() as emulator:
        yield emulator


@pytest.fixture
def plugin_type():
    return Example
