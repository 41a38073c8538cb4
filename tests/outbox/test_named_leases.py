"""Leases by name: what one replica alone may do. On both stores."""

import asyncio

import pytest
from sqlalchemy import select

from claiming import acquire_lease
from gatepost.outbox import named_leases, schema

BOTH_STORES = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def leases():
    """Return a function for the names of all leases in a store."""

    async def names(store):
        query = select(schema.leases.c.name).order_by(schema.leases.c.name)
        return await store._database.transact(lambda connection: list(connection.execute(query).scalars()))

    return names


@BOTH_STORES
async def test_a_lease_is_held_by_one_process_until_it_ends(place, clock):
    async with place.opened() as first:
        assert await acquire_lease(first, "balance", 30)
        assert await acquire_lease(first, "balance", 30)
        assert await acquire_lease(first, "other", 30)
    async with place.opened() as second:
        clock.advance(29.999)
        assert not await acquire_lease(second, "balance", 30)
        clock.advance(0.001)
        assert await acquire_lease(second, "balance", 30)


@BOTH_STORES
async def test_a_renewed_lease_lasts_longer(place, clock):
    async with place.opened() as first:
        await acquire_lease(first, "balance", 30)
        clock.advance(20)
        assert await acquire_lease(first, "balance", 30)
    async with place.opened() as second:
        clock.advance(20)
        assert not await acquire_lease(second, "balance", 30)


@BOTH_STORES
async def test_a_clock_that_is_set_back_leaves_no_lease_for_ever(place, clock):
    """A lease that ends later than any can is of a clock that was wrong; its holder may be gone."""
    async with place.opened() as first:
        clock.advance(3600)
        assert await acquire_lease(first, "plugin/poller/poll", 300)
    async with place.opened() as second:
        clock.advance(-3600)
        assert await acquire_lease(second, "plugin/poller/poll", 30)
        assert await acquire_lease(second, "plugin/poller/poll", 300)
    async with place.opened() as third:
        clock.advance(-1)
        assert not await acquire_lease(third, "plugin/poller/poll", 30)
        clock.advance(1)
        assert not await acquire_lease(third, "plugin/poller/poll", 30)


@BOTH_STORES
async def test_of_many_requests_at_once_each_name_is_taken(store):
    names = ["a", "b", "a", "c"]
    assert await asyncio.gather(*(acquire_lease(store, name, 30) for name in names)) == [True] * 4


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_of_two_replicas_that_ask_at_once_one_has_the_lease(place, clock):
    async with place.opened() as one, place.opened() as other:
        for number in range(20):
            # A new one, then one that has just ended.
            name = f"poll {number // 2}"
            held = await asyncio.gather(*(acquire_lease(store, name, 30) for store in [one, other] * 3))
            assert held in ([True, False] * 3, [False, True] * 3)
            clock.advance(30)


@BOTH_STORES
async def test_old_leases_of_plugins_are_deleted(place, clock, leases):
    async with place.opened() as store:
        for name in ("plugin/poller/2026-11-27", "plugin/poller/now", "waits-for-deliveries"):
            await acquire_lease(store, name, 30)
        clock.advance(30 + named_leases.MAX_AGE - 1)
        await acquire_lease(store, "plugin/poller/now", 30)
        await store.prune()
        assert len(await leases(store)) == 3
        clock.advance(1)
        assert await store.prune() == 1

        # That of the core stays: it says since when nothing ran.
        assert await leases(store) == ["plugin/poller/now", "waits-for-deliveries"]
