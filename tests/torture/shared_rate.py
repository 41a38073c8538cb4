"""A rate that two replicas on PostgreSQL share, while one of them ends and another one comes."""

import asyncio
import math
import random
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery.routes import RouteMember, route_member
from gatepost.delivery.slots import TURN_TOLERANCE
from gatepost.delivery.worker import DeliveryWorker
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Receipt, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import NewMessage, Policy, open_outbox
from gatepost.outbox.messages import new_id
from gatepost.plugin_host.instances import Instance
from torture.outage import Users, sms_settings

Figures = Mapping[str, object]

TICK = 0.005
"""Seconds between two readings of the clock, whose largest delay is that of the event loop."""


class Provider:
    """A provider that notes when it got each message, by the monotonic clock."""

    def __init__(self) -> None:
        self.sends: list[tuple[float, str]] = []

    @hookimpl
    async def send_sms(self, message):
        self.sends.append((time.monotonic(), message.id))
        return Receipt()


class SlowUsers(Users):
    """A contact source that answers after a time between these seconds."""

    def __init__(self, shortest: float, longest: float) -> None:
        self._between = shortest, longest

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact:
        await asyncio.sleep(random.uniform(*self._between))
        return await super().find_contact(ext_user_id)


def unshared_member(instance: Instance, *, clients: int, shared: bool) -> RouteMember:
    """Return a member of a planted defect: each replica has the whole rate for itself."""
    return route_member(instance, clients=clients, shared=not shared)


@asynccontextmanager
async def replica(
    url: str,
    folder: Path,
    provider: Provider,
    per_second: float,
    build: Callable[..., RouteMember] = route_member,
    source: object = None,
    *,
    killed: bool = False,
) -> AsyncIterator[None]:
    """Run one replica that sends text messages to the provider; ``killed``: what it holds at its end is not sent."""
    instance = Instance(
        InstanceSettings(name="relay", use="relay", per_second=per_second, concurrency=100), provider
    )
    users = Instance(InstanceSettings(name="users", use="users"), source or Users())
    async with open_outbox(Secret(url), folder, Policy()) as outbox:
        worker = DeliveryWorker(
            sms_settings(folder, "relay"),
            outbox=outbox,
            members={"relay": build(instance, clients=1, shared=outbox.is_shared)},
            contacts=Contacts({"brand": [users]}, 2.0, ""),
            contact_cache=ContactCache(),
            metrics=Metrics(),
        )
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            if killed:
                running.cancel()
            worker.stop()
            await asyncio.gather(running, return_exceptions=True)


async def put(url: str, folder: Path, count: int) -> None:
    """Store this many messages."""
    content = msgspec.msgpack.encode(SmsContent(text="Hello there"))
    async with open_outbox(Secret(url), folder, Policy()) as outbox:
        await asyncio.gather(
            *(
                outbox.put(
                    NewMessage(
                        id=new_id(),
                        client="brand",
                        channel=Channel.SMS,
                        route="sms",
                        uid=str(number),
                        fingerprint=bytes(32),
                        ext_user_id="anna",
                        preview="",
                        callback_url="",
                        content=content,
                        lifetime=86_400.0,
                    )
                )
                for number in range(count)
            )
        )


async def measure(
    url: str,
    folder: Path,
    *,
    per_second: float,
    seconds: float,
    build: Callable[..., RouteMember] = route_member,
    source: object = None,
) -> Figures:
    """Send for this long with two replicas, of which one is replaced after a half of the time."""
    await put(url, folder, round(per_second * seconds * 2))
    provider = Provider()
    delays: list[float] = []
    ticks = asyncio.create_task(_note_delays(delays))
    async with AsyncExitStack() as all_the_time:
        await all_the_time.enter_async_context(replica(url, folder, provider, per_second, build, source))
        async with replica(url, folder, provider, per_second, build, source, killed=True):
            await asyncio.sleep(seconds / 2)
        await all_the_time.enter_async_context(replica(url, folder, provider, per_second, build, source))
        await asyncio.sleep(seconds / 2)
        sends = [moment for moment, _ in provider.sends]
    ticks.cancel()
    ids = [message_id for _, message_id in provider.sends]
    return {
        "accepted": round(per_second * seconds * 2),
        "sent": len(sends),
        "sent twice": len(ids) - len(set(ids)),
        "part of the rate": round((len(sends) - 1) / (sends[-1] - sends[0]) / per_second, 3),
        "busiest second": _busiest(sends),
        "beyond the rate": max(0, _busiest(sends) - math.ceil(per_second * (1 + TURN_TOLERANCE)) - 1),
        "delay of the event loop": f"{max(delays) * 1000:.0f} ms",
    }


def _busiest(sends: Sequence[float]) -> int:
    """Return the largest number of sends within any second."""
    moments = sorted(sends)
    return max(bisect_right(moments, begin + 1.0) - position for position, begin in enumerate(moments))


async def _note_delays(delays: list[float]) -> None:
    while True:
        begin = time.monotonic()
        await asyncio.sleep(TICK)
        delays.append(time.monotonic() - begin - TICK)
