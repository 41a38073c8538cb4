"""The plugin in front of slow, full and broken servers, and of queries that return too much."""

import asyncio
import gc
import time

import pytest

from gatepost.errors import Unavailable
from gatepost.model import Contact, Secret
from gatepost.testing.fixtures import LOOKUP_TIMEOUT
from gatepost_sql import lookups
from gatepost_sql.testing.tables import FIND
from sql.proxy import Fault

SHORT = {"lookup_timeout": 0.4}
SLEEP = {
    "postgresql": "pg_sleep(60) IS NOT NULL",
    # MariaDB ends a SLEEP when its client is gone, and a computation only when its time is over.
    "mariadb": "BENCHMARK(2000000000, SHA2('sleep(60)', 512)) = 0",
}
RUNNING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep(60)%' "
    "AND pid <> pg_backend_pid()",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' "
    "AND id <> connection_id()",
}
MILLION = {
    "postgresql": "SELECT :ext_user_id AS ext_user_id, 'x@players.example' AS email FROM generate_series(1, 1000000)",
    "mariadb": "SELECT :ext_user_id AS ext_user_id, 'x@players.example' AS email FROM seq_1_to_1000000",
}


@pytest.fixture
def ann(players):
    players.create()
    players.add({"ann": Contact(email=Secret("ann@players.example"))})
    return players


def running_queries(players):
    rows = players.run(RUNNING[players.scheme])
    return int(rows if isinstance(rows, str) else rows[0][0])


async def recovers(plugin):
    async with asyncio.timeout(60):
        while True:
            try:
                return await plugin.find_contact("ann")
            except Unavailable:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("fault", Fault)
async def test_a_network_that_fails_is_unavailable_and_then_works_again(ann, running, fault):
    async with running(context=SHORT) as plugin:
        # Within so short a time a busy machine may not connect at once.
        assert await recovers(plugin)
        ann.proxy.fault = fault
        if fault is Fault.REFUSE:
            ann.proxy.drop()
        with pytest.raises(Unavailable) as caught:
            await plugin.find_contact("ann")
        assert "ann" not in str(caught.value)
        ann.proxy.fault = None
        assert await recovers(plugin)


async def test_a_connection_that_died_while_idle_costs_no_lookup(ann, running):
    async with running() as plugin:
        for _ in range(3):
            assert await plugin.find_contact("ann")
            ann.proxy.drop()
        assert await plugin.find_contacts(["ann", "bea"])


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_network_that_hangs_while_the_column_is_looked_at_keeps_no_connection(
    players, running, monkeypatch, set_ahead
):
    monkeypatch.setattr(lookups, "TYPE_INTERVAL", 0.0)
    players.create("bigint")
    async with running(connections=1) as plugin:
        # The second one waits for the first look at the standby's age, which comes between them.
        for _ in range(2):
            assert await plugin.find_contact("42") is None
        connections, players.proxy.fault = players.proxy.connections, Fault.HANG
        lookup = asyncio.create_task(plugin.find_contact("ann"))
        while not lookup.done():
            set_ahead(LOOKUP_TIMEOUT)
            await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match="did not answer in time"):
            await lookup
        assert not plugin._database._pool.get_size(), "the connection that hangs is closed"
        assert players.proxy.connections == connections, "another one for a cancellation would hang too"


async def test_a_database_that_is_away_at_the_start_is_asked_later(ann, running, core):
    ann.proxy.fault = Fault.REFUSE
    async with running() as plugin:
        assert [entry["event"] for entry in core.logged] == ["contacts_database_away"]
        ann.proxy.fault = None
        assert await recovers(plugin)


async def test_a_database_that_stays_away_is_not_connected_to_for_each_lookup(ann, running):
    ann.proxy.fault = Fault.REFUSE
    async with running() as plugin:
        for _ in range(200):
            with pytest.raises(Unavailable):
                await plugin.find_contact("ann")
        # SQLAlchemy and asyncpg may connect a second time within one attempt.
        assert ann.proxy.connections < 40


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_slow_query_does_not_run_on(ann, running, cancelled):
    query = f"{FIND} AND {SLEEP[ann.scheme]}"
    # The query that is cancelled must be seen first, and then its server ends it only in this time.
    context = {"lookup_timeout": 4.0} if cancelled else SHORT
    async with running(query=query, user_query=None, context=context) as plugin:
        lookup = asyncio.create_task(plugin.find_contact("ann"))
        if cancelled:
            while not await asyncio.to_thread(running_queries, ann):
                assert not lookup.done()
                await asyncio.sleep(0.01)
            lookup.cancel()
        with pytest.raises(asyncio.CancelledError if cancelled else Unavailable):
            await lookup
        async with asyncio.timeout(60):
            while await asyncio.to_thread(running_queries, ann):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.05)


async def test_a_million_rows_for_one_user_are_not_read(players, running):
    players.create()
    async with running(query=MILLION[players.scheme], user_query=None) as plugin:
        with pytest.raises(Unavailable, match="rows") as caught:
            await plugin.find_contact("ann")
        assert caught.value.misconfigured
        found = await plugin.find_contacts(["ann", "bea"])
        assert {type(one) for one in found.values()} == {Unavailable}


async def test_two_rows_for_one_user_cost_that_user_alone(players, running):
    players.run("CREATE TABLE twice (id VARCHAR(20), email VARCHAR(100))")
    players.run(
        "INSERT INTO twice VALUES ('ann', 'ann@players.example'), ('ann', 'eve@players.example'), "
        "('bea', 'bea@players.example')"
    )
    query = "SELECT id AS ext_user_id, email FROM twice WHERE id = :ext_user_id"
    async with running(query=query, user_query=None) as plugin:
        with pytest.raises(Unavailable, match="the query returns several rows for one user") as caught:
            await plugin.find_contact("ann")
        assert caught.value.misconfigured
        found = await plugin.find_contacts(["ann", "bea", "cleo"])
        assert isinstance(found.pop("ann"), Unavailable)
        assert found == {"bea": Contact(email=Secret("bea@players.example"))}


async def test_a_query_that_writes_is_refused_by_the_server(players, running):
    players.run("CREATE SEQUENCE numbers")
    players.create()
    players.run(
        f"GRANT ALL ON {'SEQUENCE ' if players.scheme == 'postgresql' else ''}numbers TO "
        + (players.role if players.scheme == "postgresql" else f"{players.role}@'%'")
    )
    query = (
        "SELECT :ext_user_id AS ext_user_id, CAST(nextval('numbers') AS text) AS email"
        if players.scheme == "postgresql"
        else "SELECT :ext_user_id AS ext_user_id, CAST(NEXTVAL(numbers) AS CHAR) AS email"
    )
    with pytest.raises((Unavailable, Exception)) as caught:
        async with running(query=query, user_query=None) as plugin:
            await plugin.find_contact("ann")
    assert "writes" in str(caught.value)


async def test_lookups_that_wait_for_a_connection_end_in_time(ann, running):
    query = f"{FIND} AND {SLEEP[ann.scheme]}"
    async with running(query=query, user_query=None, connections=1, context=SHORT) as plugin:
        begun = time.monotonic()
        outcomes = await asyncio.gather(
            *(plugin.find_contact("ann") for _ in range(200)), return_exceptions=True
        )
        assert {type(one) for one in outcomes} == {Unavailable}
        # Far less than the 72 s that these lookups would take one after the other.
        assert time.monotonic() - begun < 30


async def test_a_lookup_cancelled_while_it_connects_leaves_no_error_behind(ann, running):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    for steps in range(40):
        async with running(query=FIND, user_query=None) as plugin:
            lookup = asyncio.ensure_future(plugin.find_contact("ann"))
            for _ in range(steps):
                await asyncio.sleep(0)
            lookup.cancel()
            await asyncio.wait({lookup})
    gc.collect()
    assert reported == []


BROKEN = {
    "postgresql": "CAST(name AS json) ->> 'a'",
    # An error of MariaDB that depends on the row.
    "mariadb": "(SELECT 1 UNION ALL SELECT 2 FROM DUAL WHERE players.name = '{broken')",
}


async def test_a_row_that_can_not_be_read_costs_that_user_alone(players, running):
    players.create()
    for user, name in (("ann", "{broken"), ("bea", '{"a": 1}'), ("cleo", '{"a": 2}')):
        players.run(
            f"INSERT INTO players (id, email, name) VALUES ('{user}', '{user}@players.example', '{name}')"
        )
    query = (
        f"SELECT id AS ext_user_id, email, {BROKEN[players.scheme]} AS a FROM players WHERE id = :ext_user_id"
    )
    async with running(query=query, user_query=None) as plugin:
        found = await plugin.find_contacts(["ann", "bea", "cleo", "nobody"])
    assert isinstance(found.pop("ann"), Unavailable)
    assert {one: contact.email.reveal() for one, contact in found.items()} == {
        one: f"{one}@players.example" for one in ("bea", "cleo")
    }


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_stored_text_without_a_form_in_utf_8_is_no_unknown_user(players, running):
    players.run("CREATE DATABASE windows ENCODING win1252 LOCALE 'C' TEMPLATE template0")
    players.database = "windows"
    players.url = f"postgresql://postgres:x@127.0.0.1:{players.proxy.port}/windows"
    players.create()
    players.run(
        "INSERT INTO players (id, email, name) VALUES ('ann', 'ann@players.example', 'Ann'), "
        "('bob', 'bob@players.example', chr(129))"
    )
    async with running(**players.table) as plugin:
        with pytest.raises(Unavailable, match="can't store or convert a text") as caught:
            await plugin.find_contact("bob")
        assert caught.value.misconfigured
        found = await plugin.find_contacts(["ann", "bob"])
    assert {one: type(contact) for one, contact in found.items()} == {"ann": Contact, "bob": caught.type}


@pytest.mark.parametrize("players", ["mariadb"], indirect=True)
async def test_columns_that_can_not_be_compared_make_no_unknown_users(ann, running):
    ann.run(
        "CREATE TABLE excluded (id VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, reason VARCHAR(99))"
    )
    query = (
        "SELECT players.id AS ext_user_id, players.email, excluded.reason AS blocked FROM players "
        "LEFT JOIN excluded ON excluded.id = players.id WHERE players.id = :ext_user_id"
    )
    async with running(query=query, user_query=None) as plugin:
        assert await plugin.find_contact("ann")
        ann.run("ALTER TABLE players MODIFY id VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        for lookup in (plugin.find_contact, lambda user: plugin.find_contacts([user, "bea"])):
            with pytest.raises(Unavailable) as caught:
                await lookup("ann")
            assert (caught.value.code, caught.value.misconfigured) == ("1267", True)
