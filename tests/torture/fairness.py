"""A long queue of one client, and one message of another client and an urgent one behind it.

On a clock that moves only while all tasks wait, so the figures do not depend on the machine.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from gatepost.config.client import Client
from gatepost.config.routes import Route, Routes
from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery import planner
from gatepost.delivery.routes import route_member
from gatepost.delivery.worker import DeliveryWorker
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Receipt, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import NewMessage, Outbox, Policy, open_outbox
from gatepost.outbox.messages import new_id
from gatepost.plugin_host.instances import Instance
from torture.fast_forward import FastForward
from torture.outage import START_TIME, Users, sms_settings

PER_SECOND = 100.0
RULES = (
    Route(name="codes", clients=("brand",), use=("relay",), urgent=True),
    Route(name="all", use=("relay",)),
)


class Provider:
    """A provider that notes when it got each message, and takes a while for it."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    @hookimpl
    async def send_sms(self, message):
        self.at[message.id] = asyncio.get_running_loop().time()
        await asyncio.sleep(0.05)
        return Receipt()


class OldestFirst(planner.Planner):
    """A planted defect: the first queue gets every slot that it can use."""

    def plan(self, demands, now):
        return super().plan(list(demands)[:1], now)


def run(
    folder: Path, queued: int, plan: Callable[..., planner.Planner] = planner.Planner
) -> Mapping[str, object]:
    """Queue so many messages, and measure how long the two others wait; ``plan`` builds the planner."""
    folder.mkdir(parents=True, exist_ok=True)
    with asyncio.Runner(loop_factory=FastForward) as runner:
        return runner.run(_measure(folder, queued, plan))


async def _measure(folder: Path, queued: int, plan: Callable[..., planner.Planner]) -> Mapping[str, object]:
    loop = asyncio.get_running_loop()
    provider = Provider()
    async with open_outbox(
        Secret("sqlite:///outbox.db"), folder, Policy(), clock=lambda: START_TIME + loop.time()
    ) as outbox:
        for begin in range(0, queued, 1_000):
            await asyncio.gather(*(_put(outbox, "brand", "all") for _ in range(min(1_000, queued - begin))))
        delivery = _delivery(folder, outbox, provider, plan)
        running = asyncio.create_task(delivery.run())
        await asyncio.sleep(2.0)
        began = loop.time()
        other, urgent = await _put(outbox, "second", "all"), await _put(outbox, "brand", "codes")
        for _ in range(100):
            await asyncio.sleep(0.1)
            if provider.at.keys() >= {other, urgent}:
                break
        delivery.stop()
        await running
    return {
        "accepted": queued,
        "sent meanwhile": len(provider.at),
        "seconds of the other client": round(provider.at.get(other, began + 1e9) - began, 2),
        "seconds of the urgent message": round(provider.at.get(urgent, began + 1e9) - began, 2),
    }


async def _put(outbox: Outbox, client: str, route: str) -> str:
    message_id = new_id()
    await outbox.put(
        NewMessage(
            id=message_id,
            client=client,
            channel=Channel.SMS,
            route=route,
            uid=message_id,
            fingerprint=bytes(32),
            ext_user_id="anna",
            preview="",
            callback_url="",
            content=msgspec.msgpack.encode(SmsContent(text="Hello there")),
            lifetime=86_400.0,
        )
    )
    return message_id


def _delivery(
    folder: Path, outbox: Outbox, provider: Provider, plan: Callable[..., planner.Planner]
) -> DeliveryWorker:
    settings = msgspec.structs.replace(
        sms_settings(folder),
        routes=Routes(sms=RULES),
        clients={name: Client(authorization=()) for name in ("brand", "second")},
    )
    relay = Instance(InstanceSettings(name="relay", use="relay", per_second=PER_SECOND), provider)
    users = Instance(InstanceSettings(name="users", use="users"), Users())
    delivery = DeliveryWorker(
        settings,
        outbox=outbox,
        members={"relay": route_member(relay, clients=2, shared=False)},
        contacts=Contacts({name: [users] for name in settings.clients}, 2.0, ""),
        contact_cache=ContactCache(),
        metrics=Metrics(),
        clock=asyncio.get_running_loop().time,
    )
    delivery._dispatch._planner = plan()
    return delivery
