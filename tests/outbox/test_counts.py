"""Counts of the outbox: each end once, when it is on disk, and what waits or is dead."""

import asyncio

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from claiming import claim_callbacks, claim_due, finish_callback, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import CallbackResult, ReportedEvents, RetryOrder, queries
from gatepost.outbox.schema import statuses
from gatepost.outbox.states import FINAL_STATES, State

LIFETIMES = dict.fromkeys(Channel, 3600.0)


def counted(store):
    return {key: count for key, count in store.end_counts.items() if count}


def report(claim):
    event = StatusEvent(status=Status.DELIVERED, message_id=claim.id)
    return ReportedEvents(instance="box", events=[event])


async def test_every_count_exists_from_the_start(store):
    assert store.end_counts == {(channel, state): 0 for channel in Channel for state in FINAL_STATES}


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
async def test_an_end_is_counted_once(store, put_and_claim, state):
    claim = await put_and_claim(store)

    await asyncio.gather(*(store.finish(result_of(claim, state)) for _ in range(2)))
    await store.finish(result_of(claim, state))

    assert counted(store) == {(Channel.EMAIL, state): 1}


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN])
async def test_a_message_that_goes_on_is_not_counted(store, put_and_claim, state):
    await store.finish(result_of(await put_and_claim(store), state, delay=10))

    assert counted(store) == {}


async def test_a_receipt_after_a_report_is_not_counted_again(store, put_and_claim):
    claim = await put_and_claim(store)

    await asyncio.gather(store.record(report(claim)), store.record(report(claim)))
    await store.finish(result_of(claim, State.SENT, provider_id="its-id"))

    assert counted(store) == {(Channel.EMAIL, State.SENT): 1}


async def test_messages_whose_lifetime_ended_are_counted_and_logged(store, new, clock):
    expired = [new(f"uid-{n}", lifetime=60) for n in range(3)]
    await asyncio.gather(*(store.put(message) for message in expired))
    clock.advance(60)

    with capture_logs() as logged:
        await asyncio.gather(store.sweep(), store.sweep())

    assert counted(store) == {(Channel.EMAIL, State.FAILED): 3}
    lines = [line for line in logged if line["event"] == "message_failed"]
    assert {line["message"] for line in lines} == {message.id for message in expired}
    assert {(line["log_level"], line["client"], line["channel"]) for line in lines} == {
        ("error", "brand", "email")
    }


async def test_a_message_that_expires_during_its_last_try_is_counted_and_logged(store, put_and_claim, clock):
    claim = await put_and_claim(store, lifetime=60)
    clock.advance(61)

    with capture_logs() as logged:
        await store.finish(result_of(claim, State.QUEUED, delay=1, reason="busy"))

    assert counted(store) == {(Channel.EMAIL, State.FAILED): 1}
    assert [line["message"] for line in logged if line["event"] == "message_failed"] == [claim.id]


async def test_a_retried_message_is_counted_at_each_end(store, put_and_claim, clock):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, State.FAILED))
    await store.retry(RetryOrder([claim.id], "maria", LIFETIMES))
    (again,) = await claim_due(store, Channel.EMAIL, 1, 30)

    await store.finish(result_of(again, State.SENT))

    assert counted(store) == {(Channel.EMAIL, State.FAILED): 1, (Channel.EMAIL, State.SENT): 1}


async def test_dead_callbacks_are_counted_until_they_are_retried(store, put_and_claim, clock):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, State.SENT))
    clock.advance(100)
    assert ((await store.depth()).callbacks_dead, (await store.depth()).callbacks_age) == (0, 100.0)

    (call,) = await claim_callbacks(store, 1, 30)
    await finish_callback(
        store, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=False, problem="HTTP 500")
    )
    depth = await store.depth()
    assert (depth.callbacks, depth.callbacks_dead, depth.callbacks_age) == ({}, 1, 0.0)

    await store.tell(RetryOrder([claim.id], "maria"))
    depth = await store.depth()
    assert (depth.callbacks, depth.callbacks_dead, depth.callbacks_age) == ({"queued": 1}, 0, 100.0)


async def test_no_count_reads_every_row(store):
    """A scrape must cost the same with a million finished messages as with none."""
    steps = await store._database.transact(_steps)

    assert len(steps) >= 3
    # The few queues, and indexes that hold only waiting or dead rows, may be read as a whole.
    small = {"queues", "messages_due", "statuses_due", "statuses_dead"}
    assert [step for step in steps if step.startswith("SCAN") and step.split()[-1] not in small] == []


def _steps(connection):
    """Return SQLite's query plan of each statement of ``depth``."""
    statements = []
    event.listen(connection, "before_cursor_execute", lambda *arguments: statements.append(arguments[2:4]))
    connection.execute(
        statuses.insert().values(
            message_id="one",
            status="accepted",
            code="",
            recorded_at=0,
            reporter="",
            callback_state="queued",
            due_at=0,
            attempt=0,
            holder="",
            client="",
            target="",
            http_status=0,
            problem="",
        )
    )
    statements.clear()
    queries.depth(connection, 0)
    return [
        row[-1]
        for statement, parameters in tuple(statements)
        for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]
