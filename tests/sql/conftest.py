"""Fixtures: a table of players on each real server, behind a proxy."""

import pytest

from gatepost_sql import SqlSource
from sql.players import MariaPlayers, PostgresPlayers
from sql.proxy import Proxy


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def plugin_type():
    return SqlSource


@pytest.fixture
async def postgres_players(postgres_server):
    """An empty database of PostgreSQL, behind a proxy."""
    players = PostgresPlayers(postgres_server)
    async with Proxy(players.upstream) as proxy:
        players.connect(proxy)
        yield players


@pytest.fixture
async def mariadb_players(mariadb_server):
    """An empty database of MariaDB, behind a proxy."""
    players = MariaPlayers(mariadb_server)
    async with Proxy(players.upstream) as proxy:
        players.connect(proxy)
        yield players


@pytest.fixture(params=["postgres", "mariadb"])
def players(request):
    """An empty database of each server in turn."""
    return request.getfixturevalue(f"{request.param}_players")


@pytest.fixture
def table(players):
    return players.table
