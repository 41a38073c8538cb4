"""Refused requests, kept for a day and never more than a bounded number."""

import asyncio

import pytest

from gatepost.observe.log_throttle import LogThrottle
from gatepost.outbox import refusals
from gatepost.outbox.driver_statement import driver_statement
from gatepost.outbox.refusals import Refusal, RefusalLog

BOTH_STORES = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


def refusal(number, **fields):
    return Refusal(
        **{
            "client": "brand",
            "channel": "email",
            "uid": f"uid-{number}",
            "ext_user_id": "anna",
            "code": 1,
            "reason": "no contact source knows this ext_user_id",
            **fields,
        }
    )


async def find(store, **wanted):
    return await store._database.transact(lambda connection: refusals.find(connection, **wanted))


async def prune(store):
    while await store.change(refusals.prune, None):
        pass


@BOTH_STORES
async def test_refusals_are_found_by_client_uid_and_user_the_newest_first(store):
    rows = [refusal(1), refusal(2, client="other"), refusal(3, ext_user_id="berta")]
    await store.change(refusals.add, rows)
    assert [one.uid for one in await find(store)] == ["uid-3", "uid-2", "uid-1"]
    assert [one.uid for one in await find(store, client="other")] == ["uid-2"]
    assert [one.uid for one in await find(store, uid="uid-1")] == ["uid-1"]
    assert [one.uid for one in await find(store, user="berta")] == ["uid-3"]


async def test_an_id_that_looks_like_an_address_is_not_kept(store):
    await store.change(refusals.add, [refusal(1, uid="a@b.example", ext_user_id="+44 7700 900100")])
    (one,) = await find(store)
    assert (one.uid, one.ext_user_id) == (refusals.HIDDEN, refusals.HIDDEN)


@BOTH_STORES
async def test_each_write_has_the_same_statement(store):
    """The compiled statements are kept for ever, and there are five writes a second."""
    await store.change(refusals.add, [refusal(1)])
    before = driver_statement.cache_info().currsize
    await store.change(refusals.add, [refusal(2)])
    assert driver_statement.cache_info().currsize == before


@BOTH_STORES
async def test_a_refusal_is_kept_for_a_day(store, clock):
    await store.change(refusals.add, [refusal(1)])
    clock.advance(86_000)
    await store.change(refusals.add, [refusal(2)])
    await prune(store)
    assert len(await find(store)) == 2
    clock.advance(500)
    await prune(store)
    assert [one.uid for one in await find(store)] == ["uid-2"]


async def test_a_refusal_of_the_future_keeps_no_other_one(store, clock):
    """The clock was ahead when it was written."""
    clock.advance(10 * 86_400)
    await store.change(refusals.add, [refusal(1)])
    clock.advance(-10 * 86_400)
    await store.change(refusals.add, [refusal(2)])
    await prune(store)
    assert [one.uid for one in await find(store)] == ["uid-2"]


async def test_only_the_newest_are_kept_when_there_are_too_many(store, monkeypatch):
    monkeypatch.setattr(refusals, "MAX_KEPT", 5)
    await store.change(refusals.add, [refusal(number) for number in range(8)])
    await prune(store)
    assert [one.uid for one in await find(store)] == [f"uid-{number}" for number in (7, 6, 5, 4, 3)]


async def test_what_waits_is_written_at_the_end(store):
    log = RefusalLog(store, LogThrottle(lambda: 0.0))
    running = asyncio.create_task(log.run())
    log.add(refusal(1))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [one.uid for one in await find(store)] == ["uid-1"]


async def test_more_than_can_wait_are_dropped_and_the_others_are_written(store, monkeypatch):
    monkeypatch.setattr(refusals, "MAX_WAITING", 2)
    log = RefusalLog(store, LogThrottle(lambda: 0.0))
    for number in range(4):
        log.add(refusal(number))
    running = asyncio.create_task(log.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [one.uid for one in await find(store)] == ["uid-1", "uid-0"]
