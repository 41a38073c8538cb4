"""The loop that reads and decides shares: one replica decides, all obey, and a busy store stops nobody."""

from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from gatepost.errors import StoreBusy
from gatepost.model import Secret
from gatepost.outbox import Policy, counters, open_outbox, sqlite
from gatepost.outbox.cohorts import Counted, Group, counter_key
from gatepost.routing.shares import Shares
from gatepost.upkeep import balance
from gatepost.upkeep.balance import LEASE, Balancer

SPLITS = {"shared": {"infobip": 1.0, "eu": 1.0}}
GB = Group("shared", "GB")


class Deployment:
    """A store on a clock that the test advances."""

    def __init__(self, url, folder):
        self.url = Secret(url)
        self.folder = folder
        self.now = 1_800_000_000.0
        self.refused = set()

    @asynccontextmanager
    async def opened(self):
        """Open the store in one more process; yield it and its balancer."""
        async with open_outbox(self.url, self.folder, Policy(), clock=lambda: self.now) as outbox:
            outbox._now = sqlite.database_clock(lambda: self.now)
            yield outbox, Balancer(outbox, Shares(SPLITS), lambda: self.refused)

    async def plant_outage(self, outbox):
        def add(tx, _items):
            for age in range(4, 64):
                for instance, delivered in (("infobip", 0 if age < 14 else 18), ("eu", 18)):
                    sent_at = round(self.now * 1000) - age * 60_000
                    counters.add(tx, counter_key(GB, instance, sent_at, Counted.SENT), 20)
                    counters.add(tx, counter_key(GB, instance, sent_at, Counted.DELIVERED), delivered)
            return [None]

        await outbox.change(add, None)


@pytest.fixture
def it(request, tmp_path):
    return Deployment("sqlite:///outbox.db", tmp_path)


def factor(balancer):
    return balancer._shares.factors("shared", "GB").get("infobip", 1.0)


async def test_one_replica_decides_and_the_other_obeys_and_takes_over(it, postgres_server):
    it.url = Secret(postgres_server.new_database())
    # In the middle of a minute, so that the lease ends in the next one.
    it.now += 30
    async with it.opened() as (store, first), it.opened() as (_, second):
        await it.plant_outage(store)
        await first.update(decide=True)
        assert factor(first) == pytest.approx(1 / 3)
        await second.update()
        assert factor(second) == factor(first)
        it.now += LEASE - 1
        await second.update(decide=True)
        assert factor(second) == factor(first)
        it.now += 2
        await second.update(decide=True)
        assert factor(second) < factor(first)


async def test_a_reduced_and_a_restored_share_are_logged(it):
    async with it.opened() as (store, balancer):
        await it.plant_outage(store)
        with capture_logs() as logged:
            await balancer.update(decide=True)
            await balancer.update(decide=True)
        assert [(one["event"], one["log_level"], one["instance"], one["percent"]) for one in logged] == [
            ("share_reduced", "warning", "infobip", 50)
        ]
        assert logged[0]["reason"].startswith("infobip delivered 0 % of its last 200 in GB")
        with capture_logs() as logged:
            # The counts of the outage are compared for a while; after that the share rises, without any message.
            for _ in range(360):
                it.now += 60
                await balancer.update(decide=True)
        assert [(one["event"], one["percent"]) for one in logged] == [
            ("share_reduced", 25),
            ("share_reduced", 12),
            ("share_reduced", 10),
            ("share_restored", 100),
        ]
        assert factor(balancer) == 1.0


async def test_refused_reports_are_known_to_the_replica_that_decides(it, postgres_server):
    it.url = Secret(postgres_server.new_database())
    async with it.opened() as (store, first), it.opened() as (_, second):
        await first.update(decide=True)
        await it.plant_outage(store)
        it.refused = {"infobip"}
        await second.update(decide=True)
        it.refused = set()
        await first.update(decide=True)
        assert factor(first) == 1.0


async def test_a_busy_store_is_skipped_and_logged_once(it, monkeypatch):
    async with it.opened() as (store, balancer):
        await it.plant_outage(store)
        await balancer.update(decide=True)

        async def busy(*_):
            raise StoreBusy("busy")

        with capture_logs() as logged, monkeypatch.context() as patch:
            patch.setattr(store, "change", busy)
            for _ in range(3):
                await balancer.update(decide=True)
        assert [(one["event"], one["reason"]) for one in logged] == [("shares_not_updated", "busy")]
        assert factor(balancer) == pytest.approx(1 / 3)


async def test_without_a_balanced_route_the_loop_ends_at_once_and_reads_nothing(it, monkeypatch):
    async with it.opened() as (store, _):
        monkeypatch.setattr(store, "change", None)
        monkeypatch.setattr(balance, "READ_INTERVAL", 0.0)
        idle = Balancer(store, Shares({}), set)
        await idle.update(decide=True)
        await idle.run()
