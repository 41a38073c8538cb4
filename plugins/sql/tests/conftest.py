import pytest

from gatepost_sql import SqlSource


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def plugin_type():
    return SqlSource
