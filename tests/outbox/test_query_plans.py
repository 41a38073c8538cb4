"""What the outbox does all the time reads no whole table on SQLite, whose planner knows no statistics."""

import asyncio

import pytest

from claiming import claim_callbacks, claim_due, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import Fallback, Limit, ReportedEvents
from gatepost.outbox.states import State
from gatepost.outbox.suppressions import NewSuppression, Removal, add, remove
from statements import executed

FALLBACKS = {(Channel.SMS, "im"): Fallback(("viber", "sms"), 120.0)}
LARGE_TABLES = ("messages", "contents", "attempts", "statuses", "suppressions")
MAY_SCAN = ("LIMIT", "suppressions.ends_at <=")
"""Texts of statements that stop at the first row, and of the removal of suppressions that have ended."""


@pytest.fixture
async def store(place):
    policy = {"fallbacks": FALLBACKS, "suppress": frozenset({"complained"})}
    async with place.opened(**policy) as outbox:
        yield outbox


@pytest.fixture
def statements(store):
    """Return the list of the statements that this store has run."""
    return executed(store._database.engine)


async def scans(store, statements):
    """Return each statement that reads a whole large table."""

    parameters_by_text = {one.text: one.parameters[0] if one.many else one.parameters for one in statements}

    def explain(connection):
        plans = {
            statement: [
                row.detail
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]
            for statement, parameters in parameters_by_text.items()
            if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH"))
            and not any(text in statement for text in MAY_SCAN)
        }
        return [
            (statement, plan)
            for statement, plan in plans.items()
            for table in LARGE_TABLES
            # An index that is scanned is one of those with only the rows that wait.
            if f"SCAN {table}" in plan
        ]

    assert statements
    return await store._database.transact(explain)


async def test_acceptance_reads_no_whole_table(store, statements, new):
    cap = Limit("sms_per_day/brand", 3, "the client's sms_per_day")
    await store.change(add, NewSuppression("brand", "bert", "left", "maria"))
    messages = [new(f"uid-{n}", limits=[cap]) for n in range(5)]
    blocked = [new(f"blocked-{n}", ext_user_id="bert") for n in range(3)]
    for _ in range(2):
        await asyncio.gather(*(store.put(message) for message in [*messages, *blocked]))
    await asyncio.gather(*(store.find("brand", Channel.EMAIL, f"uid-{n}", "anna") for n in range(5)))

    assert await scans(store, statements) == []


async def test_sends_and_reports_read_no_whole_table(store, statements, new):
    messages = [new(f"uid-{n}", channel=Channel.SMS, route="im", ext_user_id=f"user-{n}") for n in range(6)]
    await asyncio.gather(*(store.put(message) for message in messages))
    claims = await claim_due(store, Channel.SMS, 6, 30.0)
    await asyncio.gather(*(store.renew(one, 30.0) for one in claims))
    states = [State.SENT, State.SENT, State.REJECTED, State.UNCERTAIN, State.QUEUED, State.FAILED]
    await asyncio.gather(
        *(
            store.finish(result_of(one, state, instance="viber", provider_id=one.id))
            for one, state in zip(claims, states, strict=True)
        )
    )
    for status in (Status.FAILED, Status.COMPLAINED, Status.DELIVERED):
        ids = [{"message_id": claims[0].id}, {"provider_id": claims[1].id}, {"message_id": claims[2].id}]
        events = [StatusEvent(status=status, **one) for one in ids]
        await store.record(ReportedEvents(instance="viber", events=events))
    await store.release_claims(())

    assert await scans(store, statements) == []


async def test_the_sweep_reads_no_whole_table(store, statements, new, clock):
    await store.put(new("uid-1", channel=Channel.SMS, route="im"))
    await store.sweep(["viber"])
    clock.advance(20)
    await store.sweep(["viber"])
    clock.advance(12)
    await store.sweep(["viber"])
    await store.prune()

    assert any("UPDATE messages SET due_at=CASE" in statement.text for statement in statements)
    assert await scans(store, statements) == []


async def test_suppressions_of_several_users_are_changed_without_reading_all(store, statements):
    new = [NewSuppression(client, f"user-{n}", "left", "maria") for client in ("a", "b") for n in range(3)]
    removals = [Removal(one.client, one.ext_user_id, "", "maria") for one in new]
    await asyncio.gather(*(store.change(add, one) for one in new))
    assert await asyncio.gather(*(store.change(remove, one) for one in removals)) == [True] * 6

    assert await scans(store, statements) == []


async def test_a_claim_of_callbacks_finds_each_message_by_its_id(store, statements, new):
    await store.put(new("uid-1"))
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    await store.finish(result_of(claim))
    statements.clear()
    assert len(await claim_callbacks(store, 1, 45.0, client="brand")) == 1
    (statement,) = [one for one in statements if "callback_url" in one.text]

    plan = await store._database.transact(
        lambda connection: connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {statement.text}", statement.parameters
        ).all()
    )

    assert {row.detail for row in plan if "messages" in row.detail} == {
        "SEARCH messages USING PRIMARY KEY (id=?)"
    }
