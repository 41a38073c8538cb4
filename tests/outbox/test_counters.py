"""Counters and limits: exact after every change of a message, on both stores, whatever happens at the same time."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import func, select

from claiming import from_noon
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import (
    Limit,
    Policy,
    ReportedEvents,
    SendResult,
    StoredMessage,
    counters,
    limits,
    open_outbox,
)
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.decisions import Decision
from gatepost.outbox.retries import RetryOrder
from gatepost.outbox.schema import counters as table
from gatepost.outbox.schema import messages
from gatepost.outbox.states import FINAL_STATES, State

DAY = 86_400
LIFETIMES = dict.fromkeys(Channel, 3600.0)
TEN = Limit("email_per_day/brand", 10, "the client's email_per_day")


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request, tmp_path):
    """Return a function that opens the store; on PostgreSQL several times at once."""
    server = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    url = Secret(server.new_database() if server else "sqlite:///outbox.db")

    @asynccontextmanager
    async def opened():
        async with open_outbox(url, tmp_path, Policy(uncertain_wait=0.001)) as outbox:
            outbox._now = from_noon
            yield outbox

    return opened


@pytest.fixture
async def outbox(opened):
    async with opened() as outbox:
        yield outbox


async def put_all(outboxes, messages):
    """Store the messages at the same time, in turn at each outbox; return the results."""
    return await asyncio.gather(
        *(outboxes[number % len(outboxes)].put(message) for number, message in enumerate(messages))
    )


def accepted(results):
    return sum(isinstance(result, StoredMessage) for result in results)


async def value(outbox, key):
    return await outbox._accept_lane.run(lambda tx, _: [counters.read(tx, [key])[key]], None)


async def today(outbox, scope):
    return await outbox._accept_lane.run(
        lambda tx, _: [counters.read(tx, [(counters.start_of_day(tx), scope)]).popitem()[1]], None
    )


async def check_queued(outbox, client="brand"):
    """Check the counter of a client's queued messages, and return it."""
    query = select(func.count()).where(
        messages.c.client == client, messages.c.state.not_in([state.value for state in FINAL_STATES])
    )
    rows = await outbox._accept_lane.run(lambda tx, _: [tx.connection.execute(query).scalar_one()], None)
    assert await value(outbox, counters.queued(client)) == rows
    return rows


async def claim(outbox, count=1):
    queues = await outbox.due_queues()
    batches = await outbox.claim(lambda: [ClaimRequest(queue, count, 30.0) for queue in queues])
    return [one for batch in batches for one in batch.claims]


def result(claim, state, **fields):
    return SendResult(id=claim.id, attempt=claim.attempt, state=state, **fields)


async def test_queued_messages_are_counted_until_their_end(outbox, new):
    await put_all([outbox], [new(f"uid-{number}") for number in range(8)])
    await outbox.put(new("other", client="other"))
    assert await check_queued(outbox) == 8

    claims = [one for one in await claim(outbox, 8) if one.client == "brand"]
    assert await check_queued(outbox) == 8
    ends = [State.SENT, State.REJECTED, State.FAILED, State.QUEUED, State.UNCERTAIN]
    await asyncio.gather(*(outbox.finish(result(*pair)) for pair in zip(claims, ends, strict=False)))
    assert await check_queued(outbox) == 5
    assert await check_queued(outbox, "other") == 1


async def test_an_end_that_comes_twice_is_counted_once(outbox, new):
    await put_all([outbox], [new(f"uid-{number}") for number in range(3)])
    first, second, third = await claim(outbox, 3)
    report = ReportedEvents(
        instance="box",
        events=[StatusEvent(status=Status.DELIVERED, message_id=one.id) for one in (first, second)],
    )

    await asyncio.gather(
        *(outbox.finish(result(first, State.SENT)) for _ in range(2)),
        outbox.finish(result(second, State.FAILED)),
        outbox.finish(result(third, State.REJECTED)),
        outbox.finish(result(third, State.SENT)),
        outbox.record(report),
        outbox.record(report),
    )
    await outbox.record(report)
    await outbox.finish(result(second, State.SENT))

    assert await check_queued(outbox) == 0


async def test_a_late_receipt_of_a_failed_message_is_not_counted_again(outbox, new):
    await put_all([outbox], [new(f"uid-{number}") for number in range(2)])
    (one,) = await claim(outbox, 1)
    await outbox.finish(result(one, State.FAILED))
    await outbox.finish(result(one, State.SENT))
    assert await check_queued(outbox) == 1


async def test_a_lifetime_that_ends_and_a_retry_are_counted(outbox, new):
    failed, held = new("failed", lifetime=-1), new("held")
    await put_all([outbox], [failed, held])
    await asyncio.gather(*(outbox.sweep() for _ in range(3)))
    assert await check_queued(outbox) == 1

    await asyncio.gather(*(outbox.retry(RetryOrder([failed.id], "maria", LIFETIMES)) for _ in range(2)))
    assert await check_queued(outbox) == 2
    # A held message is not at its end, so a retry does not change the number.
    for _ in range(2):
        for one in await claim(outbox, 2):
            await outbox.finish(result(one, State.UNCERTAIN))
        await asyncio.sleep(0.01)
        await outbox.sweep()
    assert await check_queued(outbox) == 2
    await outbox.retry(RetryOrder([failed.id, held.id], "maria", LIFETIMES))
    assert await check_queued(outbox) == 2


async def test_a_cap_is_exact_for_many_messages_at_once(outbox, new):
    results = await put_all([outbox], [new(f"uid-{number}", limits=[TEN]) for number in range(300)])

    assert accepted(results) == 10
    assert {one for one in results if isinstance(one, Limit)} == {TEN}
    assert await today(outbox, TEN.scope) == 10
    assert await check_queued(outbox) == 10


async def test_repeats_never_count_and_are_answered_beyond_the_cap(outbox, new):
    first = [new(f"uid-{number}", limits=[TEN]) for number in range(9)]
    again = [new(message.uid, limits=[TEN]) for message in first]
    assert accepted(await put_all([outbox], [*first, *first, *again])) == 27
    assert await today(outbox, TEN.scope) == 9

    last, beyond = new("last", limits=[TEN]), new("beyond", limits=[TEN])
    results = await put_all([outbox], [*again, last, beyond, beyond, *again])

    ids = [message.id for message in first]
    assert [one.id for one in results[:9] + results[-9:]] == ids * 2
    assert (results[9].id, results[10:12]) == (last.id, [TEN, TEN])
    assert await outbox.find("brand", Channel.EMAIL, "beyond") is None
    assert await today(outbox, TEN.scope) == 10


async def test_what_is_refused_by_one_limit_is_not_counted_by_another(outbox, new):
    user = limits.user_limit("brand", "anna", 2)
    total = Limit(TEN.scope, 3, TEN.setting)
    queue = limits.queue_limit("brand", 4)
    results = await put_all([outbox], [new(f"a-{n}", limits=[user, total, queue]) for n in range(4)])
    assert results[2:] == [user, user]

    results = await put_all([outbox], [new(f"b-{n}", limits=[total, queue]) for n in range(2)])
    assert accepted(results) == 1
    assert results[1] == total
    results = await put_all([outbox], [new(f"c-{n}", limits=[queue]) for n in range(2)])
    assert accepted(results) == 1
    assert results[1] == queue
    assert [await today(outbox, one.scope) for one in (user, total)] == [2, 3]


async def test_an_ended_message_makes_room_in_the_queue(outbox, new):
    queue = limits.queue_limit("brand", 2)
    assert accepted(await put_all([outbox], [new(f"uid-{n}", limits=[queue]) for n in range(3)])) == 2

    (one,) = await claim(outbox, 1)
    await outbox.finish(result(one, State.SENT))

    results = await put_all([outbox], [new(f"later-{n}", limits=[queue]) for n in range(2)])
    assert accepted(results) == 1


def decision(claim, route_limits):
    return Decision(claim.id, claim.attempt, claim.channel, claim.client, "uk", "GB", route_limits)


async def test_the_cap_of_a_route_that_is_decided_later_is_exact(outbox, new):
    """One message of the route was accepted with it; of four others, decided together, there is room for one."""
    cap = limits.route_limits(Channel.EMAIL, "uk", 2)
    assert limits.route_limits(Channel.EMAIL, "uk", 0) == ()
    await outbox.put(new("first", route="uk", limits=cap))
    await put_all([outbox], [new(f"uid-{number}") for number in range(4)])
    undecided = [one for one in await claim(outbox, 4) if not one.route]
    assert len(undecided) == 4

    moved = await asyncio.gather(*(outbox.move(decision(one, cap)) for one in undecided))

    assert [isinstance(one, Limit) for one in moved].count(True) == 3
    assert await today(outbox, cap[0].scope) == 2
    # What was not moved is still claimed, and ends by its result; a second decision of what was moved changes nothing.
    for one, outcome in zip(undecided, moved, strict=True):
        refused = isinstance(outcome, Limit)
        assert await outbox.move(decision(one, cap)) == (cap[0] if refused else None)
        assert await outbox.finish(result(one, State.REJECTED)) is refused
    assert await today(outbox, cap[0].scope) == 2
    assert await check_queued(outbox) == 2


async def test_a_route_without_a_cap_admits_every_message_that_is_decided_later(outbox, new):
    await put_all([outbox], [new(f"uid-{number}") for number in range(3)])

    moved = await asyncio.gather(*(outbox.move(decision(one, ())) for one in await claim(outbox, 3)))

    assert [one.route for one in moved] == ["uk"] * 3
    assert await today(outbox, "per_day/email/uk") == 0


async def test_counters_stay_after_a_restart(opened, new):
    async with opened() as outbox:
        await put_all([outbox], [new(f"uid-{number}", limits=[TEN]) for number in range(6)])
    for _ in range(3):
        async with opened() as outbox:
            assert (await check_queued(outbox), await today(outbox, TEN.scope)) == (6, 6)
    async with opened() as outbox:
        results = await put_all([outbox], [new(f"more-{n}", limits=[TEN]) for n in range(6)])
        assert accepted(results) == 4


async def test_counters_of_past_days_are_deleted(outbox, new, monkeypatch):
    now = outbox._now
    await put_all([outbox], [new(f"uid-{number}", limits=[TEN]) for number in range(3)])
    monkeypatch.setattr(counters, "PRUNE_BATCH", 1)

    async def rows():
        query = select(table.c.scope).where(table.c.period > 0).distinct()
        return await outbox._accept_lane.run(lambda tx, _: [len(tx.connection.execute(query).all())], None)

    for days, left in (0, 1), (1, 1), (2, 0):
        outbox._now = lambda connection, days=days: now(connection) + days * DAY * 1000
        while await outbox.prune():
            pass
        assert await rows() == left
    assert await check_queued(outbox) == 3


async def test_a_day_begins_at_midnight(place, clock, new):
    """The store asks the database's clock in the transaction that counts."""
    clock.now = 1_800_000_000 // DAY * DAY + DAY - 0.001
    async with place.opened() as outbox:
        results = await put_all([outbox], [new(f"uid-{n}", limits=[TEN]) for n in range(12)])
        assert accepted(results) == 10
        clock.advance(0.001)
        results = await put_all([outbox], [new(f"next-{n}", limits=[TEN]) for n in range(12)])
        assert accepted(results) == 10
        clock.advance(DAY - 0.001)
        assert await outbox.put(new("late", limits=[TEN])) == TEN
