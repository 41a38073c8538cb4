"""PostgreSQL behind PgBouncer, which gives each transaction any of its connections."""

import asyncio

import asyncpg
import pytest

from gatepost.model import Contact, Secret
from torture.pgbouncer import PGBOUNCER, pooler

pytestmark = [
    pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed"),
    pytest.mark.parametrize("players", ["postgres"], indirect=True),
]

USERS = [f"user-{number}" for number in range(40)]

ADVICE = "set what is missing with ALTER ROLE ... SET"


@pytest.fixture(params=["transaction", "session"])
def bouncer(request, players):
    """The URL of a table with users, through PgBouncer, which has two connections."""
    players.create()
    players.add({one: Contact(email=Secret(f"{one}@players.example")) for one in USERS})
    server = players._server.url(players.database)
    with pooler(server, request.param, size=2, round_robin=True) as url:
        yield url


async def test_lookups_pass_a_pooler(bouncer, running):
    async with running(url=bouncer, connections=2) as plugin:
        for _ in range(5):
            found = await asyncio.gather(
                *(plugin.find_contact(one) for one in USERS), plugin.find_contacts(USERS)
            )
            assert found.pop() == dict(zip(USERS, found, strict=True))
            assert [one.email.reveal() for one in found] == [f"{one}@players.example" for one in USERS]


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({}, "default_transaction_read_only and statement_timeout"),
        ({"statement_timeout": "'2s'"}, "default_transaction_read_only"),
        ({"statement_timeout": "'2s'", "default_transaction_read_only": "on"}, None),
    ],
)
async def test_settings_that_a_pooler_leaves_out_are_warned_of(
    bouncer, players, running, core, settings, missing
):
    for name, value in settings.items():
        players.run(f"ALTER DATABASE {players.database} SET {name} = {value}")
    async with running(url=bouncer, user_query=None):
        texts = [text for _, text in core.warnings if "ALTER ROLE" in text]
    assert texts == ([f"a pooler before the database leaves out {missing}: {ADVICE}"] if missing else [])


async def test_no_statement_stays_on_the_connections_of_a_pooler(bouncer, running):
    async with running(url=bouncer) as plugin:
        assert await plugin.find_contact(USERS[0])
        await plugin.find_contacts(USERS)
    other = await asyncpg.connect(bouncer, statement_cache_size=0)
    for _ in range(4):
        assert await other.fetch("SELECT name FROM pg_prepared_statements WHERE name <> ''") == []
    await other.close()
