"""What becomes of a statement, its transaction and its connection when the driver fails; each failure is real."""

import asyncio
import sqlite3
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from sqlalchemy import bindparam, select, text
from sqlalchemy.util import greenlet_spawn

from gatepost.errors import StoreBroken
from gatepost.outbox.driver_errors import StatementRefused
from gatepost.outbox.schema import messages
from gatepost.outbox.transaction import DialectPair, dialect_pair

BOTH_STORES = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("place", ["postgresql"], indirect=True)

_every_uid = DialectPair(text("SELECT uid FROM messages NOT INDEXED"), text("SELECT uid FROM messages"))
_one = DialectPair(text("SELECT 1 AS one"), text("SELECT 1 AS one"))
_by_uid = dialect_pair(lambda _: select(messages.c.id).where(messages.c.uid == bindparam("wanted")))
_not_utf8 = "SELECT CAST(x'{}' AS TEXT) AS one UNION ALL SELECT CAST(x'{}' AS TEXT)"
_backend = DialectPair(text("SELECT 1"), text("SELECT pg_backend_pid() AS pid"))
_sleep = DialectPair(text("SELECT 1"), text("SELECT pg_sleep(60)"))


def fetching(statement):
    """Return the work that runs the statement once."""

    def fetch(tx, items):
        tx.fetch(statement)
        return items

    return fetch


async def run(store, work):
    return await store._send_lane.run(work, None)


async def test_damage_that_is_met_after_the_first_row_breaks_the_store(place, new):
    async with place.opened() as store:
        await asyncio.gather(*(store.put(new(f"uid-{number:03}")) for number in range(200)))
    file = place.base / "outbox.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()

    async with place.opened() as store:
        with file.open("r+b") as raw:
            pages = iter(lambda: raw.read(size), b"")
            damaged = [number for number, page in enumerate(pages) if b"uid-150" in page]
            for number in damaged:
                raw.seek(number * size)
                raw.write(b"\xff" * 100)

        with pytest.raises(StoreBroken, match="the file is damaged"):
            await run(store, fetching(_every_uid))
        assert store.failure.done()


@pytest.mark.parametrize("rows", [("63616e617279ff", "61"), ("61", "63616e617279ff")])
async def test_a_text_that_is_no_utf_8_is_in_no_error_and_no_log(store, rows, capfd):
    """SQLite's driver quotes it, and finds it in the first row or when it reads the others."""
    statement = text(_not_utf8.format(*rows))

    with pytest.raises(StatementRefused) as caught:
        await run(store, fetching(DialectPair(statement, statement)))

    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert "canary" not in "".join(capfd.readouterr())


@BOTH_STORES
async def test_a_parameter_that_is_not_given_is_not_null(store):
    with pytest.raises(StatementRefused):
        await run(store, fetching(_by_uid))


@ON_POSTGRESQL
async def test_work_whose_connection_is_lost_is_repeated_on_a_new_one(store, place, postgres_server):
    """The server has ended all connections, and those in the pool are not tried one after the other."""
    name = urlsplit(place.url.reveal()).path.lstrip("/")
    others = f"FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    lost = []

    def fill_pool():
        for connection in [store._database.engine.connect() for _ in range(4)]:
            connection.close()

    def lose_all(tx, items):
        tx.fetch(_one)
        if not lost:
            lost.append(postgres_server.terminate_backends(name))
            while postgres_server.psql(f"SELECT count(*) {others}", name) != "0":
                time.sleep(0.02)
        tx.fetch(_one)
        return items

    await greenlet_spawn(fill_pool)
    await run(store, lose_all)
    assert lost == [4]


@ON_POSTGRESQL
async def test_a_statement_that_something_made_stale_fails_once(store, place, postgres_server):
    name = urlsplit(place.url.reveal()).path.lstrip("/")
    postgres_server.psql("CREATE TABLE made_up (number integer)", name)
    work = fetching(DialectPair(_one.sqlite, text("SELECT number FROM made_up")))
    await run(store, work)
    postgres_server.psql("ALTER TABLE made_up ALTER number TYPE bigint", name)

    with pytest.raises(StatementRefused):
        await run(store, work)
    await run(store, work)


@ON_POSTGRESQL
async def test_a_connection_whose_statement_was_broken_off_is_not_used_again(store):
    begun = asyncio.Event()
    backends = []

    def sleep(connection):
        tx = store._begin(connection)
        backends.append(tx.fetch(_backend)[0].pid)
        begun.set()
        tx.fetch(_sleep)

    task = asyncio.create_task(store._database.transact(sleep))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    ((pid,),) = await store._database.transact(lambda connection: store._begin(connection).fetch(_backend))
    assert [pid] != backends
