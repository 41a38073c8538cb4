"""The gateways that work on the store, as each of them says of itself."""

import pytest

from gatepost.outbox import replicas
from gatepost.outbox.replicas import Sign

BOTH_STORES = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
SIGN = Sign("web-1", "0.1.0")


@pytest.fixture
def find(store, clock):
    """Return a function that reads the replicas at the test's time."""

    async def find():
        now = round(clock.now * 1000)
        return await store._database.transact(lambda connection: replicas.find(connection, now))

    return find


@BOTH_STORES
async def test_a_replica_keeps_its_start_and_is_gone_a_minute_after_its_last_sign(store, find, clock):
    begun = clock.now
    await store.change(replicas.note, SIGN)
    clock.advance(10)
    await store.change(replicas.note, SIGN)
    clock.advance(59)
    (one,) = await find()
    assert (one.host, one.version, one.started_at, one.seen_at) == ("web-1", "0.1.0", begun, begun + 10)
    assert (one.age, one.is_gone) == (59, False)
    clock.advance(1)
    (one,) = await find()
    assert one.is_gone


@BOTH_STORES
async def test_a_replica_that_is_gone_is_forgotten_after_an_hour(store, find, clock):
    await store.change(replicas.note, SIGN)
    clock.advance(3600)
    assert len(await find()) == 1
    clock.advance(1)
    assert await find() == []
    store.holder = "another"
    await store.change(replicas.note, Sign("web-2", "0.1.0"))
    rows = await store._database.transact(
        lambda connection: connection.execute(replicas.replicas.select()).all()
    )
    assert [row.host for row in rows] == ["web-2"]


@BOTH_STORES
async def test_a_replica_that_stops_is_forgotten_at_once_and_the_others_stay(store, find, clock):
    await store.change(replicas.note, SIGN)
    first, store.holder = store.holder, "another"
    clock.advance(1)
    await store.change(replicas.note, Sign("web-2", "0.1.0"))
    assert [one.host for one in await find()] == ["web-1", "web-2"]
    store.holder = first
    await store.change(replicas.forget, None)
    assert [one.host for one in await find()] == ["web-2"]
