# ruff: noqa: ASYNC110  no event exists for what these tests wait for
"""Several processes that send through one instance which warms up: together never more than its cap, also over crashes."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from claiming import from_noon
from gatepost.config.settings import InstanceSettings, Warmup
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery.routes import route_member
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Policy, open_outbox, warmups
from gatepost.outbox.startup import warmup_plan
from gatepost.outbox.warmup_steps import DAY
from gatepost.plugin_host.instances import Instance
from torture import shared_rate
from torture.outage import Users, sms_settings


class Provider(shared_rate.Provider):
    """A provider that notes each message, and may never answer."""

    answers = True

    @hookimpl
    async def send_sms(self, message):
        receipt = await super().send_sms(message)
        if not self.answers:
            await asyncio.sleep(60.0)
        return receipt


async def lose(_result):
    """Record nothing, as a process that is dead."""
    return False


class Gone:
    """A provider that takes nothing."""

    @hookimpl
    async def send_sms(self, message):
        raise Unavailable(f"down for {message.id}")


class Replicas:
    """Processes on one store that send text messages through an instance that warms up."""

    def __init__(self, url, folder, new, cap, clock=from_noon, source=None):
        self.url = url
        self.new = new
        self.folder = folder
        self.cap = cap
        self.clock = clock
        self.provider = Provider()
        self.source = source or Users()
        self.earlier = {}
        """The providers of the instances that get each message first, by name."""

    async def put(self, count):
        """Store this many messages; at the time of the clock, or their lifetimes would have ended."""
        content = msgspec.msgpack.encode(SmsContent(text="Hello there"))
        fields = {"channel": Channel.SMS, "route": "sms", "content": content, "callback_url": ""}
        async with open_outbox(Secret(self.url), self.folder, Policy()) as outbox:
            outbox._now = self.clock
            await asyncio.gather(*(outbox.put(self.new(str(number), **fields)) for number in range(count)))

    @asynccontextmanager
    async def sending(self, *, killed=False):
        """Run one process; ``killed``: what it holds at its end is not recorded."""
        settings = InstanceSettings(name="relay", use="relay", warmup=Warmup(first=self.cap), concurrency=20)
        policy = Policy(warmups={"relay": warmup_plan(settings)})
        users = Instance(InstanceSettings(name="users", use="users"), self.source)
        members = {
            name: Instance(InstanceSettings(name=name, use=name), one) for name, one in self.earlier.items()
        }
        members["relay"] = Instance(settings, self.provider)
        async with open_outbox(Secret(self.url), self.folder, policy) as outbox:
            outbox._now = self.clock
            worker = DeliveryWorker(
                sms_settings(self.folder, *members),
                outbox=outbox,
                members={name: route_member(one, clients=1, shared=True) for name, one in members.items()},
                contacts=Contacts({"brand": [users]}, 5.0, ""),
                contact_cache=ContactCache(),
                metrics=Metrics(),
            )
            running = asyncio.create_task(worker.run())
            try:
                yield outbox
            finally:
                if killed:
                    outbox.finish = lose
                    running.cancel()
                worker.stop()
                await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    if request.param == "sqlite":
        return "sqlite:///outbox.db"
    return request.getfixturevalue("postgres_server").new_database()


async def used_up(outbox):
    """Wait until the cap is used, and then for what might exceed it."""
    while not any(one.used == one.cap for one in await outbox._database.transact(warmups.find)):
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.7)


async def test_two_gateways_with_one_store_send_as_many_as_the_cap_says(postgres_server, tmp_path, new):
    it = Replicas(postgres_server.new_database(), tmp_path, new, 40)
    await it.put(100)
    async with it.sending() as outbox, it.sending():
        await asyncio.wait_for(used_up(outbox), 60)
    ids = [message_id for _, message_id in it.provider.sends]
    assert len(ids) == len(set(ids)) == 40


async def test_a_crash_between_claims_and_results_gives_no_place_back(url, tmp_path, new):
    it = Replicas(url, tmp_path, new, 40)
    await it.put(100)
    it.provider.answers = False
    async with it.sending(killed=True):
        async with asyncio.timeout(60):
            # As many as may be in flight: more are not claimed.
            while len(it.provider.sends) < 20:
                await asyncio.sleep(0.02)
    it.provider.answers = True
    async with it.sending() as outbox:
        await asyncio.wait_for(used_up(outbox), 60)
    assert len(it.provider.sends) == 40


class SlowUsers(Users):
    """A contact source that needs longer than what is left of the day."""

    lookups = 0

    @hookimpl
    async def find_contact(self, ext_user_id):
        self.lookups += 1
        await asyncio.sleep(0.8)
        return await super().find_contact(ext_user_id)


async def test_a_message_that_is_not_ready_before_its_period_ends_takes_a_place_of_the_next_one(
    url, tmp_path, new
):
    source = SlowUsers()
    midnight = 20_833 * DAY
    it = Replicas(
        url,
        tmp_path,
        new,
        3,
        lambda _connection: midnight + 1_000 if source.lookups else midnight - 300,
        source,
    )
    await it.put(12)
    async with it.sending() as outbox:
        async with asyncio.timeout(60):
            while len(it.provider.sends) < 4:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.7)
        (view,) = await outbox._database.transact(warmups.find)
    # The places of the first day are for nothing.
    assert view.ends_at == (midnight + DAY) / 1000
    assert len(it.provider.sends) == view.cap == 4


async def test_a_place_whose_period_ends_after_another_instance_was_unavailable_is_replaced_too(
    url, tmp_path, new
):
    midnight, is_over = 20_833 * DAY, False
    # A place that is taken now can't be used any more.
    it = Replicas(url, tmp_path, new, 1_000, lambda _: midnight + (1_000 if is_over else -100))
    it.earlier["gone"] = Gone()
    await it.put(1)
    async with it.sending() as outbox, asyncio.timeout(60):
        while not any(one.used for one in await outbox._database.transact(warmups.find)):
            await asyncio.sleep(0.005)
        is_over = True
        while not it.provider.sends:
            await asyncio.sleep(0.02)
        (view,) = await outbox._database.transact(warmups.find)
    assert (view.ends_at, view.used) == ((midnight + DAY) / 1000, 1)
