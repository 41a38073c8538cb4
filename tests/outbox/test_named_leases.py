"""Leases by name: what one replica alone may do."""

import asyncio


async def test_a_lease_is_held_by_one_process_until_it_ends(place, clock):
    async with place.opened() as first:
        assert await first.acquire_lease("balance", 30)
        assert await first.acquire_lease("balance", 30)
        assert await first.acquire_lease("other", 30)
    async with place.opened() as second:
        clock.advance(29.999)
        assert not await second.acquire_lease("balance", 30)
        clock.advance(0.001)
        assert await second.acquire_lease("balance", 30)


async def test_a_renewed_lease_lasts_longer(place, clock):
    async with place.opened() as first:
        await first.acquire_lease("balance", 30)
        clock.advance(20)
        assert await first.acquire_lease("balance", 30)
    async with place.opened() as second:
        clock.advance(20)
        assert not await second.acquire_lease("balance", 30)


async def test_of_many_requests_at_once_each_name_is_taken(store):
    names = ["a", "b", "a", "c"]
    assert await asyncio.gather(*(store.acquire_lease(name, 30) for name in names)) == [True] * 4
