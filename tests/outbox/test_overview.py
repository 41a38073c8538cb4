"""What an operator sees first of the store: callbacks by host, limits near their end, what is paused."""

import asyncio

import pytest

from claiming import claim_callbacks, claim_due, finish_callback, result_of
from gatepost.model import Channel
from gatepost.outbox import CallbackResult, limits, overview, pauses
from gatepost.outbox.pauses import PauseOrder, Scope
from gatepost.outbox.states import State

BOTH_STORES = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def look(store, clock):
    """Return a function that reads the overview at the test's time."""

    async def look(**configured):
        now = round(clock.now * 1000)
        return await store._database.transact(
            lambda connection: overview.overview(connection, now, configured)
        )

    return look


@BOTH_STORES
async def test_callbacks_are_counted_by_client_and_host(store, look, new, clock):
    for number, (client, host) in enumerate([("a", "one"), ("a", "one"), ("a", "two"), ("b", "one")]):
        callback_url = f"https://{host}.example/cb"
        await store.put(new(f"uid-{number}", client=client, callback_url=callback_url))
    for claim in await claim_due(store, Channel.EMAIL, 4, 30.0):
        await store.finish(result_of(claim, State.SENT, provider_id="its-id"))
    clock.advance(20)
    (first, *_) = await claim_callbacks(store, 1, 30.0, client="a", target="one.example:443")
    await finish_callback(store, CallbackResult(seq=first.seq, attempt=first.attempt, acknowledged=False))
    found = (await look()).callbacks
    assert [(one.client, one.target, one.waiting, one.dead) for one in found.targets] == [
        ("a", "one.example:443", 1, 1),
        ("a", "two.example:443", 1, 0),
        ("b", "one.example:443", 1, 0),
    ]
    assert (found.waiting, found.dead, found.age) == (3, 1, 20)


@BOTH_STORES
async def test_a_limit_is_shown_from_four_fifths_on_and_a_new_day_begins_anew(store, look, new, clock):
    of_day = limits.client_limits("brand", Channel.EMAIL, 5)
    configured = {"day": of_day[0], "queue": limits.queue_limit("brand", 100)}
    for number in range(3):
        await store.put(new(f"uid-{number}", limits=of_day))
    assert (await look(**configured)).limits == []
    await store.put(new("uid-4", limits=of_day))
    (one,) = (await look(**configured)).limits
    assert (one.setting, one.used, one.cap, one.daily) == ("day", 4, 5, True)
    (of_queue,) = (await look(queue=limits.queue_limit("brand", 5))).limits
    assert (of_queue.used, of_queue.daily) == (4, False)
    clock.advance(86_400)
    assert (await look(**configured)).limits == []


@BOTH_STORES
async def test_messages_that_wait_for_a_pause_are_marked(store, look, new):
    await asyncio.gather(store.put(new("a", client="a")), store.put(new("b", client="b")))
    await store.change(pauses.pause, PauseOrder(Scope(client="a"), "maria"))
    assert {one.client: one.paused for one in (await look()).waiting} == {"a": True, "b": False}
