"""Suspects are sent alone, and other messages between them; on a clock that moves only while all tasks wait."""

import asyncio
import itertools
from contextlib import asynccontextmanager

import msgspec
import pytest

from claiming import claim_due
from gatepost.config.routes import Routes
from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import EmailContent, SmsContent
from gatepost.delivery import suspects
from gatepost.delivery.routes import RouteMember
from gatepost.delivery.worker import DeliveryWorker
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Mailbox, Receipt, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Policy, open_outbox
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from torture.fast_forward import FastForward
from torture.outage import Users, sms_settings

TAKES = 1.0
"""Seconds that the provider takes for a message."""


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": FastForward}


class Sends:
    """A provider that notes which messages it had at the same time, and when each ended."""

    def __init__(self):
        self.in_flight = set()
        self.together = {}
        """For each message, all messages that were in flight at the same time."""
        self.ended = {}
        self.takes = {}

    @hookimpl
    async def send_sms(self, message):
        return await self.send(message)

    @hookimpl
    async def send_email(self, message):
        return await self.send(message)

    async def send(self, message):
        self.in_flight.add(message.id)
        for one in self.in_flight:
            self.together.setdefault(one, set()).update(self.in_flight)
        await asyncio.sleep(self.takes.get(message.id, TAKES))
        self.in_flight.discard(message.id)
        self.ended[message.id] = asyncio.get_running_loop().time()
        return Receipt()


class Deployment:
    """A store with suspects in it, and one process that sends."""

    def __init__(self, folder, new):
        self.folder = folder
        self.new = new
        self.sends = Sends()

    def opened(self):
        loop = asyncio.get_running_loop()
        return open_outbox(
            Secret("sqlite:///outbox.db"),
            self.folder,
            Policy(uncertain_wait=0.0),
            clock=lambda: 1_800_000_000.0 + loop.time(),
        )

    async def put(self, outbox, uid, channel):
        content = (
            SmsContent(text="Hello")
            if channel is Channel.SMS
            else EmailContent(
                sender=Mailbox("a@brand.example"), subject="Hello", html="<p>Hello</p>", text="Hello"
            )
        )
        message = self.new(uid, channel=channel, content=msgspec.msgpack.encode(content), callback_url="")
        await outbox.put(message)
        return message.id

    async def suspects(self, *channels):
        """Store a message for each of these channels that was in flight at two deaths of the process."""
        async with self.opened() as outbox:
            ids = [await self.put(outbox, f"suspect-{n}", channel) for n, channel in enumerate(channels)]
        for _ in range(2):
            async with self.opened() as outbox:
                await outbox.sweep()
                for channel in Channel:
                    await claim_due(outbox, channel, 9, 30)
        return ids

    @asynccontextmanager
    async def sending(self):
        """Run a process that sends the messages of the store."""
        settings = msgspec.structs.replace(
            sms_settings(self.folder, "relay"),
            routes=Routes(
                sms=Routes.listed(Channel.SMS, ("relay",)), email=Routes.listed(Channel.EMAIL, ("relay",))
            ),
        )
        relay = Instance(InstanceSettings(name="relay", use="relay", timeout=600.0), self.sends)
        async with self.opened() as outbox:
            await outbox.sweep()
            delivery = DeliveryWorker(
                settings,
                outbox=outbox,
                members={"relay": RouteMember(relay, Throttle(concurrency=4, per_second=0.0))},
                contacts=Contacts(
                    {"brand": [Instance(InstanceSettings(name="users", use="users"), Users())]}, 2.0, ""
                ),
                contact_cache=ContactCache(),
                metrics=Metrics(),
                clock=asyncio.get_running_loop().time,
            )
            running = asyncio.create_task(delivery.run())
            try:
                yield outbox
            finally:
                delivery.stop()
                await running

    async def sent(self, *ids):
        while not self.sends.ended.keys() >= set(ids):
            assert asyncio.get_running_loop().time() < 3_600, "a message was never sent"
            await asyncio.sleep(0.1)


@pytest.fixture
def deployment(tmp_path, new):
    return Deployment(tmp_path, new)


async def test_while_a_suspect_is_sent_no_other_message_is_in_flight(deployment):
    ids = await deployment.suspects(Channel.EMAIL, Channel.SMS, Channel.EMAIL)
    async with deployment.sending() as outbox:
        others = [
            await deployment.put(outbox, f"{channel}-{n}", channel) for channel in Channel for n in range(20)
        ]
        while len(others) < 50:
            # They arrive while a suspect is in flight.
            if deployment.sends.in_flight & set(ids) or deployment.sends.ended.keys() >= set(ids):
                channel = list(Channel)[len(others) % 2]
                others.append(await deployment.put(outbox, f"late-{len(others)}", channel))
            await asyncio.sleep(0.25)
        await deployment.sent(*ids, *others)

    for one in ids:
        assert deployment.sends.together[one] == {one}
    assert max(len(together) for together in deployment.sends.together.values()) >= 4


async def test_between_two_suspects_other_messages_are_sent_for_as_long_as_a_suspect_takes(deployment):
    ids = await deployment.suspects(*[Channel.EMAIL] * 6)
    async with deployment.sending() as outbox:
        others = [await deployment.put(outbox, f"other-{n}", Channel.EMAIL) for n in range(100)]
        await deployment.sent(*ids)
        over = max(deployment.sends.ended[one] for one in ids)
        await deployment.sent(*others)

    first = min(deployment.sends.ended[one] for one in ids)
    ends = sorted(deployment.sends.ended[one] for one in others)
    # Four at a time, they would take 25 s without suspects, and at most twice as long with them.
    meanwhile = sum(first < end < over for end in ends)
    assert meanwhile >= 5 * 8
    assert max(after - before for before, after in itertools.pairwise(ends)) <= 3 * TAKES


async def test_a_slow_send_delays_a_suspect_and_no_other_message(deployment):
    (suspect,) = await deployment.suspects(Channel.EMAIL)
    async with deployment.sending() as outbox:
        slow = deployment.new("slow").id
        deployment.sends.takes = {slow: 300.0}
        content = msgspec.msgpack.encode(SmsContent(text="Hello"))
        message = deployment.new("slow", channel=Channel.SMS, content=content, callback_url="", id=slow)
        await outbox.put(message)
        while slow not in deployment.sends.in_flight:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.01)
        began = asyncio.get_running_loop().time()
        for number in range(20):
            other = await deployment.put(outbox, f"other-{number}", Channel.EMAIL)
            began_at = asyncio.get_running_loop().time()
            await deployment.sent(other)
            assert deployment.sends.ended[other] - began_at <= suspects.IN_FLIGHT_TIMEOUT + 2 * TAKES
        assert asyncio.get_running_loop().time() - began < 300.0
        assert suspect not in deployment.sends.ended
        await deployment.sent(slow, suspect)

    assert deployment.sends.together[suspect] == {suspect}


async def test_a_stop_does_not_wait_for_suspects(deployment):
    ids = await deployment.suspects(*[Channel.EMAIL] * 6)
    async with deployment.sending():
        await deployment.sent(*ids[:1])

    assert deployment.sends.ended.keys() < set(ids)
