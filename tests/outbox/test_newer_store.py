# ruff: noqa: ASYNC110  it polls a database
"""The version before on a store that a newer one has upgraded: made-up migrations stand for those of the newer version."""

import asyncio

import asyncpg
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from claiming import claim_callbacks, claim_due, finish_callback, result_of
from gatepost.cli import check
from gatepost.errors import ConfigError
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import CallbackResult, ReportedEvents, forget, migrate, queries
from gatepost.outbox.forget import ForgetOrder
from made_up_migrations import ADDS, NEXT, REPLACES, newer_version

BOTH_STORES = pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)


async def read(store, sql):
    return await store._database.transact(lambda connection: connection.execute(text(sql)).scalars().all())


async def write(store, sql):
    await store._database.transact(lambda connection: connection.execute(text(sql)))


async def send(store, channel=Channel.EMAIL):
    (claim,) = await claim_due(store, channel, 1, 30.0)
    assert await store.finish(result_of(claim, instance="relay", provider_id=f"p-{claim.id}"))
    return claim.id


async def call_back(store):
    """Acknowledge every callback; return the statuses."""
    acknowledged = []
    while batch := await claim_callbacks(store, 50, 30.0):
        for one in batch:
            result = CallbackResult(seq=one.seq, attempt=one.attempt, acknowledged=True)
            assert await finish_callback(store, result)
            acknowledged.append(one.status)
    return acknowledged


async def find(store, identity):
    return await store._database.transact(lambda connection: queries.find_messages(connection, identity))


@BOTH_STORES
async def test_the_version_before_does_everything_on_a_store_whose_newer_tables_only_add(place, new, clock):
    async with place.opened() as store:
        before = (await store.put(new("before", ext_user_id="alice"))).id
    with newer_version(place.base, ADDS):
        async with place.opened() as store:
            await write(store, "UPDATE messages SET later = 'about alice'")
            await write(store, f"INSERT INTO labels VALUES ('{before}', 'about alice')")

    async with place.opened() as store:
        assert await read(store, "SELECT version_num FROM alembic_version") == [NEXT]
        assert await send(store) == before
        stored = await store.put(new("here", ext_user_id="bob"))
        assert (await store.put(new("here", ext_user_id="bob"))).id == stored.id
        assert await send(store) == stored.id
        event = StatusEvent(status=Status.DELIVERED, provider_id=f"p-{stored.id}")
        assert (await store.record(ReportedEvents(instance="relay", events=[event]))).new == 1
        assert await call_back(store) == ["accepted", "accepted", "delivered"]
        assert await read(store, "SELECT DISTINCT weight FROM statuses") == [7]

        await write(store, f"INSERT INTO labels VALUES ('{stored.id}', 'about bob')")
        assert await read(store, "SELECT later FROM messages WHERE later IS NOT NULL") == ["about alice"]
        assert (await store.cancel(forget.forget, ForgetOrder(("brand", "alice"), "root"))).done
        assert await read(store, "SELECT later FROM messages WHERE later IS NOT NULL") == []
        assert await read(store, "SELECT label FROM labels") == ["about bob"]

    with newer_version(place.base, ADDS):
        async with place.opened() as store:
            waiting = (await store.put(new("after", ext_user_id="carol"))).id
    async with place.opened(retention=60.0) as store:
        clock.advance(61)
        while await store.prune():
            pass
        assert [await find(store, one) for one in (before, stored.id)] == [[], []]
        assert await read(store, "SELECT label FROM labels") == []
        assert await send(store) == waiting


@BOTH_STORES
async def test_a_store_whose_newer_tables_are_others_is_refused_and_not_changed(place, new):
    async with place.opened() as store:
        await store.put(new("before"))
    with newer_version(place.base, REPLACES):
        async with place.opened():
            pass

    with pytest.raises(ConfigError) as refused:
        async with place.opened():
            pytest.fail("must not open")

    assert str(refused.value.faults[0].problem) == (
        f"a newer Gatepost has upgraded this store (revision {NEXT}), and this version (revision {migrate.HEAD}) can't "
        "use it: start the newer Gatepost, or restore a backup from before the upgrade"
    )
    with newer_version(place.base, REPLACES):
        async with place.opened() as store:
            assert await read(store, "SELECT uid FROM messages") == ["before"]


@BOTH_STORES
async def test_check_says_that_this_version_can_use_the_newer_store(place, monkeypatch):
    with newer_version(place.base, ADDS):
        async with place.opened():
            pass
    file = place.base / "gatepost.toml"
    file.write_text(f'[store]\nurl = "{place.url.reveal()}"\n')
    file.chmod(0o600)
    monkeypatch.setenv("COLUMNS", "300")

    result = await asyncio.to_thread(CliRunner().invoke, check.command, ["--config", str(file)])

    (line,) = [one for one in result.output.splitlines() if " store: " in one]
    assert line.rstrip().endswith("(upgraded by a newer Gatepost; this version can use it)")


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_a_running_replica_and_one_that_starts_go_on_while_a_newer_one_upgrades(
    place, new, postgres_server
):
    async with place.opened() as running:
        first = (await running.put(new("first"))).id
        with newer_version(place.base, ADDS):
            async with place.opened() as newer:
                second = (await newer.put(new("second"))).id
                assert await send(running) == first
                assert await send(running) == second
                await running.put(new("third"))
                assert await call_back(newer) == ["accepted", "accepted"]
        async with place.opened() as turned_back:
            await send(turned_back)
            assert await call_back(running) == ["accepted"]


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_an_upgrade_that_a_deadlock_has_ended_begins_again(place):
    """The migration locks messages and then statuses; the transaction of a replica may do it the other way round."""

    async def upgrade():
        async with place.opened() as store:
            return await read(store, "SELECT version_num FROM alembic_version")

    async with place.opened():
        pass
    replica, watcher = [await asyncpg.connect(place.url.reveal()) for _ in range(2)]
    with newer_version(place.base, ADDS):
        async with replica.transaction():
            await replica.execute("SET LOCAL deadlock_timeout = '1h'; LOCK statuses IN ROW EXCLUSIVE MODE")
            upgrading = asyncio.create_task(upgrade())
            while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            await replica.execute("LOCK messages IN ROW EXCLUSIVE MODE")
        assert await upgrading == [NEXT]
    await replica.close()
    await watcher.close()
