"""Reading the statistics, on both databases."""

from datetime import UTC, datetime

import msgspec
import pytest

from claiming import claim_due, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import Fallback, ReportedEvents, Try, statistics
from gatepost.outbox.statistics_report import (
    Dimension,
    StatisticsFilter,
    count,
    read_groups,
    whole_period,
)

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)

DAY, HOUR, CLIENT, CHANNEL, ROUTE, PLUGIN, COUNTRY = Dimension
FALLBACKS = {(Channel.SMS, "im"): Fallback(("viber", "sms"), 60.0)}


@pytest.fixture
async def store(place):
    async with place.opened(fallbacks=FALLBACKS) as outbox:
        yield outbox


@pytest.fixture
def read(store, clock):
    """Return a function for the groups: by their keys, the messages, accepted and delivered."""

    async def groups(*by, **wanted):
        found = await store._database.transact(
            lambda connection: read_groups(connection, StatisticsFilter(**wanted), by, int(clock() * 1000))
        )
        return {
            one.key: (one.messages, one.statuses[Status.ACCEPTED], one.statuses[Status.DELIVERED])
            for one in found
        }

    return groups


def sent_by(claim, instance):
    return msgspec.structs.replace(
        result_of(claim, instance=instance), tries=[Try(instance=instance, outcome="sent")]
    )


@pytest.fixture
def send(put_and_claim):
    async def send(store, uid, instance="eu", **fields):
        claim = await put_and_claim(store, uid, channel=Channel.SMS, **fields)
        await store.finish(sent_by(claim, instance))
        return claim

    return send


async def roll_up(store):
    while await store.change(statistics.roll_up, None):
        pass


async def test_hours_and_rolled_up_days_are_read_together(store, send, read, clock):
    await send(store, "old", country="DE")
    clock.advance(20 * 86_400)
    await roll_up(store)
    await send(store, "first", country="DE")
    clock.advance(3_600)
    await send(store, "second", country="GB")
    assert await read(COUNTRY) == {("DE",): (2, 2, 0), ("GB",): (1, 1, 0)}
    assert await read(DAY, CHANNEL) == {
        ("2027-01-15", "sms"): (1, 1, 0),
        ("2027-02-04", "sms"): (2, 2, 0),
    }
    assert await read(HOUR, CLIENT) == {
        ("2027-02-04T08:00Z", "brand"): (1, 1, 0),
        ("2027-02-04T09:00Z", "brand"): (1, 1, 0),
    }
    assert await read() == {(): (3, 3, 0)}


async def test_a_period_takes_in_the_hours_and_old_days_that_it_touches(store, send, read, clock):
    await send(store, "old")
    clock.advance(20 * 86_400)
    await roll_up(store)
    await send(store, "new")
    half_past, old_evening = clock() + 1_800, clock() - 20 * 86_400 + 30_000
    assert await read(since=half_past) == {(): (1, 1, 0)}
    assert await read(since=half_past + 3_600) == {}
    assert await read(until=half_past) == {(): (2, 2, 0)}
    assert await read(since=old_evening, until=old_evening + 60) == {(): (1, 1, 0)}
    now = int(clock() * 1000)
    period = whole_period(StatisticsFilter(since=old_evening, until=half_past), (), now)
    assert (period.since % 86_400_000, period.until % 3_600_000) == (0, 0)


@pytest.mark.parametrize("rolled_up", [False, True])
async def test_whole_days_and_the_hours_beside_them_are_each_counted_once(
    store, send, read, clock, rolled_up
):
    """The first message of the test's clock comes at 08:00; there is one every seven hours of three days."""
    times = []
    for number in range(11):
        await send(store, f"uid-{number}")
        times.append(clock())
        clock.advance(7 * 3_600)
    if rolled_up:
        await roll_up(store)
        await send(store, "late", lifetime=9 * 86_400.0)
        times.append(clock())
    for since in (None, *times[::2]):
        for until in (None, *times[1::3]):
            if since is None or until is None or since < until:
                expected = [one for one in times if (since or 0) <= one < (until or one + 1)]
                found = await read(since=since, until=until)
                assert found == ({(): (len(expected), len(expected), 0)} if expected else {})


async def test_a_count_that_takes_too_long_has_the_newest_messages(store, send, clock):
    for number in range(12):
        clock.advance(86_400)
        await send(store, f"uid-{number}")
    now = int(clock() * 1000)
    found = await store._database.transact(
        lambda connection: count(connection, StatisticsFilter(), [DAY], now, seconds=0.0)
    )
    whole = await store._database.transact(
        lambda connection: count(connection, StatisticsFilter(), [DAY], now, seconds=60.0)
    )
    assert whole.is_complete
    assert (len(whole.groups), whole.period.since) == (12, None)
    assert not found.is_complete
    assert 0 < len(found.groups) < 12
    assert found.groups == whole.groups[-len(found.groups) :]
    begin = datetime.fromtimestamp(found.period.since / 1000, UTC).date().isoformat()
    assert begin <= found.groups[0].key[0]


async def test_by_plugin_each_member_of_a_route_counts_what_it_took(store, put_and_claim, read, clock):
    first = await put_and_claim(store, channel=Channel.SMS, route="im")
    await store.finish(sent_by(first, "viber"))
    clock.advance(61)
    await store.sweep()
    (second,) = await claim_due(store, Channel.SMS, 1, 30.0)
    await store.finish(sent_by(second, "sms"))
    event = StatusEvent(status=Status.DELIVERED, message_id=second.id)
    await store.record(ReportedEvents(instance="sms", events=[event]))
    assert await read(ROUTE) == {("im",): (1, 1, 1)}
    assert await read(ROUTE, PLUGIN) == {("im", "sms"): (None, 1, 1), ("im", "viber"): (None, 1, 0)}
    assert await read(plugin="sms") == {(): (None, 1, 1)}
