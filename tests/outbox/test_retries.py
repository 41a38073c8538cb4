"""Retries of failed and held messages and of failed callbacks, in a real store."""

import sqlite3
from contextlib import closing

import pytest

from claiming import claim_callbacks, claim_due, finish_callback
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import CallbackResult, ReportedEvents, RetryOrder, SendResult, new_id, retries
from gatepost.outbox.states import State

LIFETIMES = {Channel.EMAIL: 60.0, Channel.SMS: 30.0}


@pytest.fixture
async def outbox(place):
    async with place.opened(uncertain_wait=5.0, hold_uncertain=True) as outbox:
        yield outbox


@pytest.fixture
def put(new):
    """Return a function that stores a message with a lifetime of a minute; it returns the message's id."""

    async def make(outbox):
        message = new(new_id(), content=b"content", lifetime=60.0)
        await outbox.put(message)
        return message.id

    return make


async def end(outbox, state):
    (claim,) = await claim_due(outbox, Channel.EMAIL, 1, 30.0)
    await outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=state))
    return claim


async def fail_for_good(outbox):
    (call,) = await claim_callbacks(outbox, 1, 45.0)
    assert await finish_callback(
        outbox, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=False, problem="HTTP 500")
    )
    return call.status


async def acknowledge(outbox):
    (call,) = await claim_callbacks(outbox, 10, 45.0)
    assert await finish_callback(
        outbox, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
    )
    return call.status


async def report(outbox, identity, *statuses):
    events = [StatusEvent(status=status, message_id=identity) for status in statuses]
    await outbox.record(ReportedEvents(instance="box", events=events))


async def test_a_retried_failed_message_is_due_with_a_new_lifetime(outbox, clock, put):
    identity = await put(outbox)
    clock.advance(61)
    assert (await outbox.sweep()).failed == 1
    clock.advance(1000)

    (retried,) = await outbox.retry(RetryOrder([identity], "maria", LIFETIMES))

    assert (retried.queued, retried.problem) == (True, "")
    (claim,) = await claim_due(outbox, Channel.EMAIL, 1, 30.0)
    assert (claim.id, claim.content, claim.lifetime) == (identity, b"content", 60.0)


async def test_a_retried_held_message_is_due(outbox, clock, put):
    identity = await put(outbox)
    await end(outbox, State.UNCERTAIN)
    clock.advance(6)
    assert (await outbox.sweep()).held == 1

    assert (await outbox.retry(RetryOrder([identity], "maria", LIFETIMES)))[0].queued

    assert [claim.id for claim in await claim_due(outbox, Channel.EMAIL, 1, 30.0)] == [identity]


@pytest.mark.parametrize(
    ("state", "claimed_again", "recorded"),
    [
        (State.QUEUED, False, False),
        (State.REJECTED, False, False),
        (State.SENT, False, True),
        (State.SENT, True, False),
    ],
)
async def test_after_a_retry_only_a_receipt_of_the_last_claim_counts(
    outbox, clock, state, claimed_again, recorded, put
):
    identity = await put(outbox)
    (claim,) = await claim_due(outbox, Channel.EMAIL, 1, 1.0)
    clock.advance(61)
    await outbox.sweep()  # the lease ends
    await outbox.sweep()  # the lifetime ends
    assert (await outbox.retry(RetryOrder([identity], "maria", LIFETIMES)))[0].queued
    if claimed_again:
        await claim_due(outbox, Channel.EMAIL, 1, 30.0)

    assert await outbox.finish(SendResult(id=identity, attempt=claim.attempt, state=state)) is recorded


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (None, "being sent"),
        (State.QUEUED, "queued already"),
        (State.UNCERTAIN, "waits for a report"),
        (State.SENT, "a provider has it"),
        (State.REJECTED, "with a new uid"),
    ],
)
async def test_a_message_that_is_neither_failed_nor_held_is_not_retried(outbox, state, reason, put):
    identity = await put(outbox)
    if state is None:
        await claim_due(outbox, Channel.EMAIL, 1, 30.0)
    else:
        await end(outbox, state)

    (retried,) = await outbox.retry(RetryOrder([identity], "maria", LIFETIMES))

    assert not retried.queued
    assert reason in retried.problem


async def test_a_retry_of_an_unknown_message_says_so(outbox):
    assert "no such message" in (await outbox.retry(RetryOrder([new_id()], "maria", LIFETIMES)))[0].problem


async def test_a_message_with_erased_content_is_not_retried(outbox, clock, tmp_path, put):
    identity = await put(outbox)
    clock.advance(61)
    await outbox.sweep()
    with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM contents")

    (retried,) = await outbox.retry(RetryOrder([identity], "maria", LIFETIMES))

    assert not retried.queued
    assert "with a new uid" in retried.problem
    assert await claim_due(outbox, Channel.EMAIL, 1, 30.0) == []


async def fail_once(outbox, seconds=36_000.0):
    (call,) = await claim_callbacks(outbox, 1, 45.0)
    callback_result = CallbackResult(
        seq=call.seq, attempt=call.attempt, acknowledged=False, retry_in=seconds, problem="HTTP 503"
    )
    assert await finish_callback(outbox, callback_result)
    return call


async def test_retried_dead_callbacks_are_made_in_order_one_at_a_time(outbox, put):
    identity = await put(outbox)
    await end(outbox, State.SENT)
    await report(outbox, identity, Status.DELIVERED, Status.OPENED)
    assert await fail_for_good(outbox) is Status.ACCEPTED
    assert await fail_for_good(outbox) is Status.DELIVERED

    (callback_retries,) = await outbox.tell(RetryOrder([identity], "maria"))

    assert (callback_retries.callbacks, callback_retries.problem) == (2, "")
    assert (callback_retries.client, callback_retries.target) == ("brand", "crm.example:443")
    assert [await acknowledge(outbox) for _ in range(3)] == [Status.ACCEPTED, Status.DELIVERED, Status.OPENED]
    assert await claim_callbacks(outbox, 10, 45.0) == []


async def test_a_retried_callback_is_due_now_with_all_its_tries(outbox, put):
    identity = await put(outbox)
    await end(outbox, State.SENT)
    await report(outbox, identity, Status.DELIVERED)
    await fail_once(outbox, 0.0)
    assert (await fail_once(outbox)).attempt == 2
    assert await claim_callbacks(outbox, 10, 45.0) == []

    (callback_retries,) = await outbox.tell(RetryOrder([identity], "maria"))

    assert (callback_retries.callbacks, callback_retries.problem) == (1, "")
    (call,) = await claim_callbacks(outbox, 10, 45.0)
    assert (call.status, call.attempt) == (Status.ACCEPTED, 1)
    assert await finish_callback(
        outbox, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
    )
    assert await acknowledge(outbox) is Status.DELIVERED


async def test_a_retry_does_not_start_a_second_callback_beside_one_in_progress(outbox, put):
    identity = await put(outbox)
    await end(outbox, State.SENT)
    await report(outbox, identity, Status.DELIVERED)
    await fail_for_good(outbox)
    (in_progress,) = await claim_callbacks(outbox, 10, 45.0)

    assert [one.callbacks for one in await outbox.tell(RetryOrder([identity], "maria"))] == [1]

    assert await claim_callbacks(outbox, 10, 45.0) == []
    await finish_callback(
        outbox, CallbackResult(seq=in_progress.seq, attempt=in_progress.attempt, acknowledged=True)
    )
    assert await acknowledge(outbox) is Status.ACCEPTED


async def test_only_waiting_and_dead_callbacks_are_retried(outbox, put):
    ids = [await put(outbox) for _ in range(4)]
    for _ in ids:
        await end(outbox, State.SENT)
    dead, waiting, done, due = [(await claim_callbacks(outbox, 1, 45.0))[0] for _ in ids]
    for call, acknowledged, retry_in in ((dead, False, None), (waiting, False, 300.0), (done, True, None)):
        callback_result = CallbackResult(
            seq=call.seq,
            attempt=call.attempt,
            acknowledged=acknowledged,
            retry_in=retry_in,
            problem="HTTP 500",
        )
        await finish_callback(outbox, callback_result)
    await finish_callback(
        outbox, CallbackResult(seq=due.seq, attempt=due.attempt, acknowledged=False, retry_in=0.0)
    )

    unknown = new_id()
    calls = [dead, waiting, done, due]
    callback_retries = await outbox.tell(RetryOrder([call.message_id for call in calls] + [unknown], "maria"))

    assert [one.callbacks for one in callback_retries] == [1, 1, 0, 0, 0]
    assert "none of its callbacks" in callback_retries[2].problem
    assert "no such message" in callback_retries[4].problem
    again = {call.message_id: call.attempt for call in await claim_callbacks(outbox, 9, 45.0)}
    assert again == {dead.message_id: 1, waiting.message_id: 1, due.message_id: 2}


async def test_a_failed_message_and_its_callback_are_retried_separately(outbox, clock, put):
    identity = await put(outbox)
    clock.advance(61)
    await outbox.sweep()
    assert await fail_for_good(outbox) is Status.FAILED

    assert [one.callbacks for one in await outbox.tell(RetryOrder([identity], "maria"))] == [1]
    assert await claim_due(outbox, Channel.EMAIL, 1, 30.0) == []

    assert (await outbox.retry(RetryOrder([identity], "maria", LIFETIMES)))[0].queued


@pytest.fixture
async def failed_ids(outbox, new):
    """Store failed callbacks of two clients to several targets; return the message ids by client and target."""
    ids = {}
    for client, target in (
        ("a", "crm.example"),
        ("a", "crm.example:8443"),
        ("b", "crm.example"),
        ("b", "crm.example.net"),
        ("b", "[2001:db8::1]:443"),
    ):
        message = new(new_id(), client=client, callback_url=f"https://{target}/status")
        await outbox.put(message)
        await end(outbox, State.SENT)
        await fail_once(outbox)
        ids[client, target] = message.id
    # And one callback that is due for the first time.
    await outbox.put(new(new_id(), client="a"))
    await end(outbox, State.SENT)
    return ids


@pytest.mark.parametrize(
    ("client", "host", "found"),
    [
        ("", "", "a crm.example|a crm.example:8443|b crm.example|b crm.example.net|b [2001:db8::1]:443"),
        ("a", "", "a crm.example|a crm.example:8443"),
        ("", "crm.example", "a crm.example|a crm.example:8443|b crm.example"),
        ("", "CRM.example:443", "a crm.example|b crm.example"),
        ("b", "crm.example", "b crm.example"),
        ("", "2001:db8::1", "b [2001:db8::1]:443"),
        ("", "[2001:db8::1]:443", "b [2001:db8::1]:443"),
        ("", "crm_example", ""),
        ("c", "", ""),
    ],
)
async def test_failed_callbacks_are_found_by_client_and_host(outbox, failed_ids, client, host, found):
    ids = await outbox._database.transact(
        lambda connection: retries.ids_with_failed_callbacks(connection, client=client, host=host)
    )

    expected = [tuple(one.split(" ")) for one in found.split("|")] if found else []
    assert sorted(ids) == sorted(failed_ids[one] for one in expected)
