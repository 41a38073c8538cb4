"""A message that goes to the second provider of its route, on a clock that moves only while everybody waits."""

import asyncio

import msgspec
import pytest

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery.worker import Delivery, Provider
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Receipt, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Policy, open_outbox
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from gatepost.upkeep.housekeeping import run_housekeeping
from torture.forward import FastForward
from torture.outage import Users, texting


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": FastForward}


class Down:
    """Says at once that it can't be had."""

    @hookimpl
    async def send_sms(self, message):
        raise Unavailable("down")


class Slow:
    """Takes five minutes, and its timeout says that it may."""

    def __init__(self):
        self.asked = []
        self.done = asyncio.Event()

    @hookimpl
    async def send_sms(self, message):
        self.asked.append(message.id)
        await asyncio.sleep(300)
        self.done.set()
        return Receipt()


def provider(name, plugin, timeout):
    instance = Instance(InstanceSettings(name=name, use=name, timeout=timeout), plugin)
    return Provider(instance, Throttle(concurrency=4, per_second=0.0))


async def test_the_claim_is_held_for_as_long_as_the_second_may_take(tmp_path, new):
    """Its lease was measured for the first one, which may take a second."""
    loop = asyncio.get_running_loop()
    slow = Slow()
    async with open_outbox(
        Secret("sqlite:///outbox.db"), tmp_path, Policy(), clock=lambda: 1_800_000_000.0 + loop.time()
    ) as outbox:
        contact_cache = ContactCache()
        delivery = Delivery(
            texting(tmp_path, "down", "slow"),
            outbox=outbox,
            providers={"down": provider("down", Down(), 1.0), "slow": provider("slow", slow, 600.0)},
            contacts=Contacts(
                {"brand": [Instance(InstanceSettings(name="users", use="users"), Users())]}, 2.0, ""
            ),
            contact_cache=contact_cache,
            metrics=Metrics(),
            clock=loop.time,
        )
        tasks = [
            asyncio.create_task(delivery.run()),
            asyncio.create_task(run_housekeeping(outbox, contact_cache)),
        ]
        content = msgspec.msgpack.encode(SmsContent(text="Hello there"))
        message = new(channel=Channel.SMS, content=content, callback_url="")
        await outbox.put(message)
        await slow.done.wait()
        while (await outbox.depth()).messages:  # noqa: ASYNC110  nobody could tell it
            await asyncio.sleep(1.0)
        delivery.stop()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert slow.asked == [message.id]
