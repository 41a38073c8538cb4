"""What the fixtures of Gatepost's kit need to know: ``gatepost.testing.fixtures`` lists them."""

import pytest

from gatepost_accounts import Accounts
from gatepost_accounts.testing import AccountService


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def provider():
    """The running emulator."""
    async with AccountService() as service:
        yield service


@pytest.fixture
def plugin_type():
    return Accounts
