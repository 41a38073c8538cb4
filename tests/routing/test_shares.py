"""The shares in the store: decided from the counts of all replicas, and the same for all of them."""

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import select

from claiming import acquire_lease
from gatepost.model import Secret
from gatepost.outbox import Policy, counters, open_outbox, schema, sqlite
from gatepost.outbox.cohorts import SCOPE_PREFIX, Counted, Group, counter_key
from gatepost.outbox.report_outages import REFUSED_REPORTS
from gatepost.routing import shares
from gatepost.routing.shares import Shares

MINUTE = 60_000
GB = Group("shared", "GB")
SPLITS = {"shared": {"infobip": 1.0, "eu": 1.0}}
REASON = "infobip delivered 0 % of its last 200 in GB (eu 90 %)"


class Deployment:
    """A store on a clock that the test advances, and the processes that have it open."""

    def __init__(self, url, folder):
        self.url = Secret(url)
        self.folder = folder
        self.now = 1_800_000_000.0

    @asynccontextmanager
    async def opened(self):
        async with open_outbox(self.url, self.folder, Policy(), clock=lambda: self.now) as outbox:
            # On PostgreSQL the server's clock would count.
            outbox._now = sqlite.database_clock(lambda: self.now)
            yield outbox

    async def count(self, outbox, ages, group=GB, **counted):
        """Count ``instance=(sent, delivered)`` in each minute of these ages."""

        def add(tx, _items):
            for age in ages:
                for instance, values in counted.items():
                    for kind, value in zip(Counted, values, strict=True):
                        sent_at = round(self.now * 1000) - age * MINUTE
                        counters.add(tx, counter_key(group, instance, sent_at, kind), value)
            return [None]

        await outbox.change(add, None)

    async def decide(self, outbox, splits=SPLITS):
        """Decide; return the factors that changed."""
        changes = await outbox.change(shares.decide_shares, splits)
        return {one.instance: one.share.factor for one in changes if one.before != one.share.factor}


async def stored(outbox):
    return await outbox.change(shares.read, None)


async def factors(outbox, group=GB):
    return {name: share.factor for name, share in (await stored(outbox))[group].items()}


@pytest.fixture(params=["sqlite", "postgresql"])
def it(request, tmp_path):
    if request.param == "postgresql":
        return Deployment(request.getfixturevalue("postgres_server").new_database(), tmp_path)
    return Deployment("sqlite:///outbox.db", tmp_path)


@pytest.fixture
async def outbox(it):
    async with it.opened() as outbox:
        yield outbox


async def plant_outage(it, outbox):
    """Let both instances deliver for half an hour, and then the first one nothing for ten minutes."""
    await it.count(outbox, range(14, 44), infobip=(20, 18), eu=(20, 18))
    await it.count(outbox, range(4, 14), infobip=(20, 0), eu=(20, 18))


async def test_who_delivers_nothing_loses_its_share_minute_by_minute(it, outbox):
    await plant_outage(it, outbox)
    assert await it.decide(outbox) == {"infobip": 0.5}
    assert (await stored(outbox))[GB]["infobip"].reason == REASON
    assert await it.decide(outbox) == {}
    it.now += 60
    await it.count(outbox, [4], infobip=(10, 0), eu=(30, 27))
    assert await it.decide(outbox) == {"infobip": 0.25}
    assert await factors(outbox) == {"infobip": 0.25, "eu": 1.0}


async def test_two_replicas_agree_and_a_restart_changes_nothing(it):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(it.opened())
        second = await stack.enter_async_context(it.opened()) if not first._lock else first
        # Each has seen half, which alone would not be enough for a verdict.
        for one in (first, second):
            await it.count(one, range(14, 54), infobip=(2, 2), eu=(2, 2))
            await it.count(one, range(4, 14), infobip=(3, 0), eu=(3, 3))
        await it.decide(second)
        expected = {"infobip": 0.5, "eu": 1.0}
        assert await factors(first) == await factors(second) == expected
        before = await stored(first)
        assert before[GB]["infobip"].sent == 60
    async with it.opened() as outbox:
        assert await stored(outbox) == before


async def test_a_message_is_explained_where_a_share_differs(it, outbox):
    own = Shares(SPLITS)
    own.replace(await stored(outbox))
    assert (own.factors("shared", "GB"), own.explain("shared", "GB", "eu")) == ({}, "")
    await plant_outage(it, outbox)
    await it.decide(outbox)
    own.replace(await stored(outbox))
    assert own.factors("shared", "GB") == {"infobip": pytest.approx(1 / 3), "eu": 1.0}
    assert own.explain("shared", "GB", "eu") == f"eu, because {REASON}"
    assert own.explain("shared", "GB", "infobip") == f"infobip, with 50 % of its share, because {REASON}"
    assert (own.factors("shared", "FR"), own.explain("shared", "FR", "eu")) == ({}, "")
    assert own.factors("other", "GB") == {}


async def test_after_a_time_without_a_process_nobody_is_judged_by_what_was_sent_before(it, outbox):
    await it.count(outbox, range(4, 44), infobip=(20, 18), eu=(20, 18))
    await it.decide(outbox)
    it.now += 4 * 60
    await it.count(outbox, range(4, 14), infobip=(200, 0))
    for _ in range(10):
        assert await it.decide(outbox) == {}
        it.now += 60
    await it.count(outbox, range(4, 8), infobip=(200, 0), eu=(200, 180))
    assert await it.decide(outbox) == {"infobip": 0.5}


async def test_while_reports_are_refused_anywhere_the_instance_is_not_judged(it, outbox):
    await it.count(outbox, range(4, 44), infobip=(20, 18), eu=(20, 18))
    await it.decide(outbox)
    it.now += 60
    await it.count(outbox, range(4, 14), infobip=(200, 0))
    assert await acquire_lease(outbox, f"{REFUSED_REPORTS}infobip", 60.0)
    assert await it.decide(outbox) == {}
    it.now += 60
    assert await it.decide(outbox) == {}
    assert (await stored(outbox))[GB]["infobip"].measured_from == int(it.now) // 60


async def test_a_clock_that_was_ahead_holds_up_no_decision(it, outbox):
    it.now += 86_400
    await it.count(outbox, range(4, 44), infobip=(20, 18), eu=(20, 18))
    await it.decide(outbox)
    it.now -= 86_400
    await it.decide(outbox)
    it.now += 60
    await plant_outage(it, outbox)
    await it.decide(outbox)
    assert await factors(outbox) == {"infobip": 0.5, "eu": 1.0}


async def test_instances_and_routes_of_another_configuration_are_left_alone(it, outbox):
    await plant_outage(it, outbox)
    await it.count(outbox, range(4, 44), Group("gone", ""), infobip=(20, 0), eu=(20, 18))
    await it.decide(outbox)
    await it.decide(outbox, {"shared": {"eu": 1.0, "third": 1.0}})
    assert (await stored(outbox)).keys() == {GB}
    assert await factors(outbox) == {"infobip": 0.5, "eu": 1.0}
    assert await it.decide(outbox, {}) == {}
    it.now += 8 * 86_400
    await it.decide(outbox, {})
    assert await stored(outbox) == {}


async def test_an_earlier_configuration_does_not_keep_new_instances_from_being_judged(it, outbox):
    await plant_outage(it, outbox)
    await it.decide(outbox, {"shared": {"infobip": 1.0, "eu": 1.0}})
    it.now += 3600
    splits = {"new": {"infobip": 1.0, "eu": 1.0}}
    await it.count(outbox, range(14, 44), Group("new", ""), infobip=(20, 18), eu=(20, 18))
    await it.count(outbox, range(4, 14), Group("new", ""), infobip=(20, 0), eu=(20, 18))
    assert await it.decide(outbox, splits) == {"infobip": 0.5}


async def test_old_counts_are_deleted_and_other_counters_stay(it, outbox):
    await it.count(outbox, range(0, 140, 10), infobip=(1, 1))
    day = it.now * 1000 // 86_400_000 * 86_400_000

    def count_day(tx, _items):
        counters.add(tx, (int(day), "sms_per_day/brand"), 7)
        counters.add(tx, counters.queued("brand"), 3)
        return [None]

    await outbox.change(count_day, None)
    await it.decide(outbox)
    for _ in range(2):
        it.now += 1500
        await it.decide(outbox)
    table = schema.counters
    rows = await outbox._database.transact(
        lambda connection: connection.execute(select(table.c.period, table.c.scope)).all()
    )
    ages = {
        (round(it.now * 1000) - period) // MINUTE for period, scope in rows if scope.startswith(SCOPE_PREFIX)
    }
    assert ages
    assert max(ages) < 120
    assert {scope for _, scope in rows if not scope.startswith(SCOPE_PREFIX)} == {
        "sms_per_day/brand",
        "queued/brand",
    }
