"""What the fixtures of Gatepost's kit need to know: ``gatepost.testing.fixtures`` lists them."""

import pytest

from gatepost_example_tcp import ExampleTcp
from gatepost_example_tcp.testing import ExampleTcpEmulator


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def provider():
    """The running emulator."""
    async with ExampleTcpEmulator() as emulator:
        yield emulator


@pytest.fixture
def plugin_type():
    return ExampleTcp
