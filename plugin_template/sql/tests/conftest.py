"""What the fixtures of Gatepost's kit need to know: ``gatepost.testing.fixtures`` lists them."""

import pytest

from gatepost_example_sql import ExampleSql
from gatepost_example_sql.testing import ExampleSqlDatabase


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def provider():
    """The database, without a table at first."""
    async with ExampleSqlDatabase() as database:
        yield database


@pytest.fixture
def plugin_type():
    return ExampleSql
