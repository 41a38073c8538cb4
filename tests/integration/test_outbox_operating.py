"""What an operator may do to messages that were given up, at a real store."""

import sqlite3
from contextlib import closing

import pytest

from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import Called, Outcome, Reported, Retry, new_id
from gatepost.statuses import State

LIFETIMES = {Channel.EMAIL: 60.0, Channel.SMS: 30.0}


@pytest.fixture
async def outbox(place):
    async with place.opened(uncertain_wait=5.0, hold=True) as outbox:
        yield outbox


@pytest.fixture
def put(new):
    """Puts a message that lives for a minute; returns its id."""

    async def make(outbox):
        message = new(new_id(), content=b"content", lifetime=60.0)
        await outbox.put(message)
        return message.id

    return make


async def end(outbox, state):
    (claim,) = await outbox.claim(Channel.EMAIL, 1, 30.0)
    await outbox.finish(Outcome(id=claim.id, attempt=claim.attempt, state=state))
    return claim


async def call_until_dead(outbox):
    (call,) = await outbox.claim_calls(1, 45.0)
    assert await outbox.finish_call(
        Called(seq=call.seq, attempt=call.attempt, told=False, problem="HTTP 500")
    )
    return call.status


async def tell(outbox):
    (call,) = await outbox.claim_calls(10, 45.0)
    assert await outbox.finish_call(Called(seq=call.seq, attempt=call.attempt, told=True))
    return call.status


async def report(outbox, identity, *statuses):
    events = [StatusEvent(status=status, message_id=identity) for status in statuses]
    await outbox.record(Reported(instance="box", events=events))


async def test_a_failed_message_is_due_again_with_a_fresh_lifetime(outbox, clock, put):
    identity = await put(outbox)
    clock.advance(61)
    assert (await outbox.sweep()).failed == 1
    clock.advance(1000)

    retried = await outbox.retry(Retry(id=identity), LIFETIMES)

    assert (retried.queued, retried.problem) == (True, "")
    (claim,) = await outbox.claim(Channel.EMAIL, 1, 30.0)
    assert (claim.id, claim.content, claim.lifetime) == (identity, b"content", 60.0)


async def test_a_held_message_is_due_again(outbox, clock, put):
    identity = await put(outbox)
    await end(outbox, State.UNCERTAIN)
    clock.advance(6)
    assert (await outbox.sweep()).held == 1

    assert (await outbox.retry(Retry(id=identity), LIFETIMES)).queued

    assert [claim.id for claim in await outbox.claim(Channel.EMAIL, 1, 30.0)] == [identity]


@pytest.mark.parametrize(
    ("late", "claimed", "kept"),
    [
        (State.QUEUED, False, False),
        (State.REJECTED, False, False),
        (State.SENT, False, True),
        (State.SENT, True, False),
    ],
)
async def test_of_who_held_the_message_before_a_receipt_counts_until_the_next_claim(
    outbox, clock, late, claimed, kept, put
):
    identity = await put(outbox)
    (claim,) = await outbox.claim(Channel.EMAIL, 1, 1.0)
    clock.advance(61)
    await outbox.sweep()  # the lease is over
    await outbox.sweep()  # and so is the lifetime
    assert (await outbox.retry(Retry(id=identity), LIFETIMES)).queued
    if claimed:
        await outbox.claim(Channel.EMAIL, 1, 30.0)

    assert await outbox.finish(Outcome(id=identity, attempt=claim.attempt, state=late)) is kept


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "being sent"),
        (State.QUEUED, "queued already"),
        (State.UNCERTAIN, "waits for a report"),
        (State.SENT, "a provider has it"),
        (State.REJECTED, "with a new uid"),
    ],
)
async def test_what_was_not_given_up_is_left_alone(outbox, state, said, put):
    identity = await put(outbox)
    if state is None:
        await outbox.claim(Channel.EMAIL, 1, 30.0)
    else:
        await end(outbox, state)

    retried = await outbox.retry(Retry(id=identity), LIFETIMES)

    assert not retried.queued
    assert said in retried.problem


async def test_a_message_that_nobody_knows_is_said_to_be_unknown(outbox):
    assert "no such message" in (await outbox.retry(Retry(id=new_id()), LIFETIMES)).problem


async def test_what_is_erased_can_only_be_sent_anew(outbox, clock, tmp_path, put):
    identity = await put(outbox)
    clock.advance(61)
    await outbox.sweep()
    with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM contents")

    retried = await outbox.retry(Retry(id=identity), LIFETIMES)

    assert not retried.queued
    assert "with a new uid" in retried.problem
    assert await outbox.claim(Channel.EMAIL, 1, 30.0) == []


async def test_dead_callbacks_are_told_again_in_their_order_one_at_a_time(outbox, put):
    identity = await put(outbox)
    await end(outbox, State.SENT)
    await report(outbox, identity, Status.DELIVERED, Status.OPENED)
    assert await call_until_dead(outbox) is Status.ACCEPTED
    assert await call_until_dead(outbox) is Status.DELIVERED

    retried = await outbox.retry(Retry(id=identity), LIFETIMES)

    assert (retried.queued, retried.callbacks, retried.problem) == (False, 2, "")
    assert [await tell(outbox) for _ in range(3)] == [Status.ACCEPTED, Status.DELIVERED, Status.OPENED]
    assert await outbox.claim_calls(10, 45.0) == []


async def test_a_call_under_way_is_not_joined_by_a_second_one(outbox, put):
    identity = await put(outbox)
    await end(outbox, State.SENT)
    await report(outbox, identity, Status.DELIVERED)
    await call_until_dead(outbox)
    (under_way,) = await outbox.claim_calls(10, 45.0)

    assert (await outbox.retry(Retry(id=identity), LIFETIMES)).callbacks == 1

    assert await outbox.claim_calls(10, 45.0) == []
    await outbox.finish_call(Called(seq=under_way.seq, attempt=under_way.attempt, told=True))
    assert await tell(outbox) is Status.ACCEPTED


async def test_a_revived_callback_has_all_its_tries_again(outbox, put):
    identity = await put(outbox)
    await end(outbox, State.SENT)
    await call_until_dead(outbox)

    await outbox.retry(Retry(id=identity), LIFETIMES)

    (call,) = await outbox.claim_calls(1, 45.0)
    assert call.attempt == 1


async def test_only_what_was_asked_for_is_done(outbox, clock, put):
    identity = await put(outbox)
    clock.advance(61)
    await outbox.sweep()
    assert await call_until_dead(outbox) is Status.FAILED

    told = await outbox.retry(Retry(id=identity, send=False), LIFETIMES)
    assert (told.queued, told.callbacks) == (False, 1)
    assert "no dead callback" in (await outbox.retry(Retry(id=identity, send=False), LIFETIMES)).problem

    sent = await outbox.retry(Retry(id=identity, tell=False), LIFETIMES)
    assert (sent.queued, sent.callbacks) == (True, 0)
