"""What is counted for the operator's statistics, and how the counts are added up later."""

import asyncio
import decimal
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from claiming import claim_due, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import Fallback, ReportedEvents, Try, statistics
from gatepost.outbox.cancellations import CancelIds, cancel_by_ids
from gatepost.outbox.decisions import Decision
from gatepost.outbox.retries import RetryOrder
from gatepost.outbox.schema import queues
from gatepost.outbox.schema import statistics as table
from gatepost.outbox.states import State

BOTH_STORES = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
FIRST_HOUR = 1_800_000_000_000 // statistics.HOUR * statistics.HOUR


@pytest.fixture
def claim_new(put_and_claim):
    async def claim_new(store, uid="uid-1", route="shared", **fields):
        return await put_and_claim(store, uid, route=route, channel=Channel.SMS, country="GB", **fields)

    return claim_new


async def counts(store, *, by=("period", "route", "country", "instance", "counted"), hours=24):
    """Return the sums that are not zero; periods as hours since the first one of the tests' clock.

    Each count is in a lane's row, or else in one of its day and in one of its hour; ``hours`` says which of these to take.
    """
    columns = {**table.c, "route": queues.c.route}
    chosen = [columns[name] for name in by]
    query = (
        select(*chosen, func.sum(table.c.value))
        .join(queues, queues.c.id == table.c.queue)
        .where((table.c.hours == hours) | (table.c.shard != ""))
        .group_by(*chosen)
        .having(func.sum(table.c.value) != 0)
    )
    rows = await store._database.transact(lambda connection: connection.execute(query).all())
    found = {}
    for *key, value in rows:
        if "period" in by:
            key[by.index("period")] = (key[by.index("period")] - FIRST_HOUR) // statistics.HOUR
        found[tuple(key) if len(key) > 1 else key[0]] = int(value)
    return found


async def rows_of(store):
    query = select(table.c.hours, table.c.shard, func.count()).group_by(table.c.hours, table.c.shard)
    rows = await store._database.transact(lambda connection: connection.execute(query).all())
    found = Counter()
    for hours, shard, count in rows:
        found[hours, "lane" if shard else ""] += count
    return found


async def roll_up(store):
    while await store.change(statistics.roll_up, None):
        pass


async def report(store, identity, *statuses, instance="eu"):
    events = [StatusEvent(status=status, message_id=identity) for status in statuses]
    await store.record(ReportedEvents(instance=instance, events=events, channels=[Channel.SMS]))


def sent_by(claim, instance="eu", **cost):
    one = Try(instance=instance, outcome="sent", **cost)
    return msgspec.structs.replace(result_of(claim, instance=instance), tries=[one])


@BOTH_STORES
async def test_each_status_counts_once_for_the_hour_of_its_message(store, claim_new, clock):
    claims = [await claim_new(store, f"uid-{number}") for number in range(3)]
    await asyncio.gather(*(store.finish(sent_by(claim)) for claim in claims))
    clock.advance(7_200)
    await report(store, claims[0].id, Status.DELIVERED, Status.DELIVERED)
    await report(store, claims[1].id, Status.FAILED)
    of_route = (0, "shared", "GB")
    assert await counts(store) == {
        (*of_route, "", "stored"): 3,
        (*of_route, "eu", "accepted"): 3,
        (*of_route, "eu", "delivered"): 1,
        (*of_route, "eu", "failed"): 1,
    }


@BOTH_STORES
async def test_a_status_counts_for_the_instance_that_reported_it(store, claim_new):
    claim = await claim_new(store)
    await report(store, claim.id, Status.DELIVERED, instance="infobip")
    assert await counts(store, by=("instance", "counted")) == {
        ("", "stored"): 1,
        ("infobip", "accepted"): 1,
        ("infobip", "delivered"): 1,
    }


async def test_a_known_uid_is_not_counted_again(store, new):
    await store.put(new("uid-1"))
    await store.put(new("uid-1"))
    assert await counts(store, by=("counted",)) == {"stored": 1}


async def test_what_nobody_sent_is_counted_without_an_instance(store, claim_new, clock, new):
    await store.put(new("expires", channel=Channel.SMS, lifetime=10.0))
    clock.advance(11)
    await store.sweep()
    await store.put(waiting := new("cancelled", channel=Channel.SMS))
    order = CancelIds(ids=[waiting.id], actor="test", reason="")
    await store.cancel(cancel_by_ids, order)
    assert await counts(store, by=("instance", "counted")) == {
        ("", "stored"): 2,
        ("", "failed"): 1,
        ("", "rejected"): 1,
    }


@BOTH_STORES
async def test_parts_and_prices_are_counted_once_by_currency(store, claim_new):
    for number, price in enumerate(("0.0068", "0.07", "-0.01", "1E+400", "NaN")):
        claim = await claim_new(store, f"uid-{number}")
        result = sent_by(claim, parts=2, price=price, currency="EUR")
        await store.finish(result)
        await store.finish(result)
    found = await counts(store, by=("counted",))
    assert found["parts"] == 10
    assert found["price EUR"] == 66_800


async def test_parts_that_the_provider_does_not_say_are_counted_apart(store, claim_new):
    await store.finish(sent_by(await claim_new(store, "first"), parts=3))
    await store.finish(sent_by(await claim_new(store, "second"), counted_parts=2))
    found = await counts(store, by=("instance", "counted"))
    assert (found["eu", "parts"], found["eu", "counted parts"]) == (3, 2)


async def test_costs_count_where_the_report_comes_before_the_answer(store, claim_new, clock):
    first = await claim_new(store)
    down = msgspec.structs.replace(result_of(first, State.QUEUED, instance="eu"), delay=1.0)
    await store.finish(down)
    clock.advance(2)
    (claim,) = await claim_due(store, Channel.SMS, 1, 30.0)
    await report(store, claim.id, Status.DELIVERED)
    await store.finish(sent_by(claim, parts=2))
    assert (await counts(store, by=("counted",)))["parts"] == 2


@BOTH_STORES
async def test_on_a_route_with_next_after_each_instance_counts_what_it_took_once(place, claim_new, clock):
    async with place.opened(fallbacks={(Channel.SMS, "im"): Fallback(("viber", "sms"), 60.0)}) as store:
        first = await claim_new(store, route="im")
        await _finish_twice(store, sent_by(first, "viber", parts=1))
        clock.advance(61)
        await store.sweep()
        (second,) = await claim_due(store, Channel.SMS, 1, 30.0)
        await _finish_twice(store, sent_by(second, "sms", parts=2))
        await report(store, second.id, Status.DELIVERED, instance="sms")
        assert await counts(store, by=("instance", "counted")) == {
            ("", "stored"): 1,
            ("viber", "accepted"): 1,
            ("viber", "parts"): 1,
            ("sms", "accepted again"): 1,
            ("sms", "delivered"): 1,
            ("sms", "parts"): 2,
        }


async def test_a_failed_message_that_is_sent_again_is_accepted(store, claim_new, clock):
    claim = await claim_new(store)
    await store.finish(msgspec.structs.replace(result_of(claim, State.FAILED), tries=[]))
    await store.retry(RetryOrder([claim.id], "test", {Channel.SMS: 60.0}))
    (again,) = await claim_due(store, Channel.SMS, 1, 30.0)
    await store.finish(sent_by(again))
    assert await counts(store, by=("instance", "counted")) == {
        ("", "stored"): 1,
        ("", "failed"): 1,
        ("eu", "accepted"): 1,
    }


async def given_up(store, claim_new, clock):
    """Return the claim of a message that has failed while its answer was on the way."""
    claim = await claim_new(store, lease=1.0)
    clock.advance(2)
    await store.sweep()
    clock.advance(90_000)
    await store.sweep()
    assert (await counts(store, by=("counted",)))["failed"] == 1
    return claim


@pytest.mark.parametrize("first", ["report", "receipt"])
async def test_a_message_that_was_given_up_too_early_is_accepted_once(store, claim_new, clock, first):
    """Otherwise more messages would be delivered than were accepted."""
    claim = await given_up(store, claim_new, clock)
    for _ in range(2):
        if first == "report":
            await report(store, claim.id, Status.DELIVERED)
        await store.finish(sent_by(claim))
        await report(store, claim.id, Status.DELIVERED)
    found = await counts(store, by=("instance", "counted"))
    assert (found["eu", "accepted"], found["eu", "delivered"]) == (1, 1)


async def _finish_twice(store, result):
    """Record a result as it is repeated after a lost connection."""
    await store.finish(result)
    await store.finish(result)


@BOTH_STORES
async def test_a_message_whose_route_is_decided_later_counts_for_that_route(store, claim_new):
    claim = await claim_new(store, route="")
    decision = Decision(claim.id, claim.attempt, Channel.SMS, claim.client, "late", "DE")
    await store.move(decision)
    assert await counts(store, by=("route", "country", "counted")) == {("late", "DE", "stored"): 1}


@BOTH_STORES
async def test_what_lanes_counted_is_kept_by_hour_and_by_day_and_old_hours_are_deleted(
    store, claim_new, clock
):
    first = await claim_new(store, "first")
    await store.finish(sent_by(first))
    clock.advance(3_600)
    await store.finish(sent_by(await claim_new(store, "second")))
    before = await counts(store, by=("route", "country", "instance", "counted"))
    by_hour = await counts(store)
    assert await rows_of(store) == {(1, "lane"): 4}

    clock.advance(3 * 3_600)
    await roll_up(store)
    assert await rows_of(store) == {(1, ""): 4, (24, ""): 2}
    assert await counts(store, hours=1) == by_hour
    assert await counts(store, by=("route", "country", "instance", "counted")) == before
    clock.advance(10 * 86_400)
    await roll_up(store)
    assert await rows_of(store) == {(24, ""): 2}
    assert await counts(store, by=("route", "country", "instance", "counted")) == before

    # A report that comes so late counts for the day of its message all the same.
    await report(store, first.id, Status.DELIVERED)
    await roll_up(store)
    assert await rows_of(store) == {(24, ""): 3}
    clock.advance(1_200 * 86_400)
    await roll_up(store)
    assert await rows_of(store) == {}


async def test_adding_up_reads_no_row_that_stays_as_it_is(store):
    plans = []

    def explain(connection, _cursor, statement, parameters, _context, _many):
        if statement.startswith("SELECT statistics"):
            cursor = connection.connection.cursor()
            plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    event.listen(store._database.engine, "before_cursor_execute", explain)
    await roll_up(store)
    event.remove(store._database.engine, "before_cursor_execute", explain)
    of_hours = "SEARCH statistics USING PRIMARY KEY (hours=? AND period<?)"
    assert plans == ["SEARCH statistics USING INDEX statistics_shards (period<?)", of_hours, of_hours]


@given(
    st.text(max_size=20)
    | st.decimals(allow_nan=True, allow_infinity=True).map(str)
    | st.decimals(-100, 100, places=8).map(str)
)
def test_any_price_can_be_counted(price):
    units = statistics.price_units(price)
    assert abs(units) <= statistics.MAX_PRICE * statistics.PRICE_UNITS


def test_a_price_is_counted_exactly():
    assert statistics.price_units("0.033301") == 33_301


def test_a_price_is_exact_although_a_plugin_has_changed_the_decimal_context():
    with decimal.localcontext(prec=1):
        assert statistics.price_units("12.345678") == 12_345_678
