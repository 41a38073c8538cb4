"""A message that the second instance of its route sends, on a clock that moves only while all tasks wait."""

import asyncio

import msgspec
import pytest

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery.routes import RouteMember
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Receipt, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Policy, open_outbox
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from gatepost.upkeep.housekeeping import run_housekeeping
from torture.fast_forward import FastForward
from torture.outage import Users, sms_settings


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": FastForward}


class Down:
    """A provider that is unavailable."""

    @hookimpl
    async def send_sms(self, message):
        raise Unavailable("down")


class Slow:
    """A provider that takes five minutes, within its timeout."""

    def __init__(self):
        self.messages = []
        self.done = asyncio.Event()

    @hookimpl
    async def send_sms(self, message):
        self.messages.append(message.id)
        await asyncio.sleep(300)
        self.done.set()
        return Receipt()


def member(name, plugin, timeout):
    instance = Instance(InstanceSettings(name=name, use=name, timeout=timeout), plugin)
    return RouteMember(instance, Throttle(concurrency=4, per_second=0.0))


async def test_the_lease_is_extended_to_the_timeout_of_the_second_instance(tmp_path, new):
    """The first lease is that of the first instance, which may take a second."""
    loop = asyncio.get_running_loop()
    slow = Slow()
    async with open_outbox(
        Secret("sqlite:///outbox.db"), tmp_path, Policy(), clock=lambda: 1_800_000_000.0 + loop.time()
    ) as outbox:
        contact_cache = ContactCache()
        delivery = DeliveryWorker(
            sms_settings(tmp_path, "down", "slow"),
            outbox=outbox,
            members={"down": member("down", Down(), 1.0), "slow": member("slow", slow, 600.0)},
            contacts=Contacts(
                {"brand": [Instance(InstanceSettings(name="users", use="users"), Users())]}, 2.0, ""
            ),
            contact_cache=contact_cache,
            metrics=Metrics(),
            clock=loop.time,
        )
        tasks = [
            asyncio.create_task(delivery.run()),
            asyncio.create_task(run_housekeeping(outbox, contact_cache, frozenset)),
        ]
        content = msgspec.msgpack.encode(SmsContent(text="Hello there"))
        message = new(channel=Channel.SMS, content=content, callback_url="")
        await outbox.put(message)
        await slow.done.wait()
        while (await outbox.depth()).messages:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(1.0)
        delivery.stop()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert slow.messages == [message.id]
