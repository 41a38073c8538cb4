# ruff: noqa: ASYNC110  nobody could tell it that the queue is empty
"""An hour without a provider, in fast-forward: what piles up meanwhile must not fall upon it all at once."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from gatepost.config.settings import Client, InstanceSettings, Logs, Routes, Server, Settings, Store
from gatepost.config.settings import Contacts as ContactSettings
from gatepost.config.settings import Delivery as DeliverySettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery.failover import RouteMember
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Receipt, Secret, Sms
from gatepost.observe.metrics import Metrics
from gatepost.outbox import NewMessage, Outbox, Policy, new_id, open_outbox
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from gatepost.upkeep.housekeeping import run_housekeeping
from torture.forward import FastForward

CONCURRENCY = 16
TAKES = 0.2
"""Seconds that the provider takes for a message; for saying that it is down a tenth of it."""

USUAL_QUEUE = 2_400
"""Messages that wait for a provider that works, so that one sees how many it usually gets in a second."""

A_SECOND = 2
"""Messages that come during the outage and after it."""

BEGAN = 1_800_000_000.0
"""Seconds since the epoch at which the fast-forward begins."""


class Flaky:
    """A provider with times in which it is not there."""

    def __init__(self) -> None:
        self.down = False
        self.taken: list[tuple[float, str]] = []
        self.turned_away = 0

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        if self.down:
            await asyncio.sleep(TAKES / 10)
            self.turned_away += 1
            raise Unavailable("down")
        self.taken.append((asyncio.get_running_loop().time(), message.id))
        await asyncio.sleep(TAKES)
        return Receipt()


class Users:
    """Everybody has the same address and the same number."""

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact:
        return Contact(email=Secret("anna@players.example"), phone=Secret("+447700900123"))


class Herd(Throttle):
    """A bug to be found: who has rested forgets how many may be under way at once."""

    _had_to_rest = False

    def sends_allowed(self, now: float) -> int:
        self._had_to_rest = self._had_to_rest or self._tripped
        return 500 if self._had_to_rest and not self._tripped else super().sends_allowed(now)


def texting(folder: Path, *route: str) -> Settings:
    """What ``DeliveryWorker`` has to know of a gateway that sends text messages by this route, and keeps them a day."""
    return Settings(
        path=folder / "gatepost.toml",
        server=Server(),
        store=Store(),
        clients={"brand": Client(authorization=())},
        contacts=ContactSettings(sources=("users",)),
        delivery=DeliverySettings(sms_lifetime=86_400.0),
        routes=Routes(sms=route),
        logs=Logs(),
        plugins={},
    )


def run(
    folder: Path, *, seconds: float, usual: int = USUAL_QUEUE, throttle: Callable[..., Throttle] = Throttle
) -> Mapping[str, object]:
    """An outage of so many seconds; ``throttle`` makes the breaker."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    # Of every one that was asked in vain there is a line.
    with structlog.testing.capture_logs(), asyncio.Runner(loop_factory=FastForward) as runner:
        figures = runner.run(_outage(folder, seconds, usual, throttle))
    return {**figures, "seconds": round(time.monotonic() - began)}


async def _outage(
    folder: Path, seconds: float, queue: int, made_by: Callable[..., Throttle]
) -> Mapping[str, object]:
    loop = asyncio.get_running_loop()
    provider = Flaky()
    instance = Instance(InstanceSettings(name="provider", use="flaky"), provider)
    users = Instance(InstanceSettings(name="users", use="users"), Users())
    async with open_outbox(
        Secret("sqlite:///outbox.db"), folder, Policy(), clock=lambda: BEGAN + loop.time()
    ) as outbox:
        contact_cache = ContactCache()
        delivery = DeliveryWorker(
            texting(folder, "provider"),
            outbox=outbox,
            members={"provider": RouteMember(instance, made_by(concurrency=CONCURRENCY, per_second=0.0))},
            contacts=Contacts({"brand": [users]}, 2.0, ""),
            contact_cache=contact_cache,
            metrics=Metrics(),
            clock=loop.time,
        )
        accepted: list[str] = []
        await _accept(outbox, accepted, queue)
        tasks = [
            asyncio.create_task(delivery.run()),
            asyncio.create_task(run_housekeeping(outbox, contact_cache)),
        ]
        await _drained(outbox)
        usual = _peak(provider.taken)

        provider.down, began = True, loop.time()
        coming = asyncio.create_task(_come(outbox, accepted))
        await asyncio.sleep(seconds)
        provider.down, back = False, loop.time()
        waiting = len(accepted) - len(provider.taken)
        await _drained(outbox, fewer_than=10)
        drained = loop.time()
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await _drained(outbox)
        delivery.stop()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    after = [(at, identity) for at, identity in provider.taken if at >= back]
    sent = Counter(identity for _, identity in provider.taken)
    return {
        "outage": f"{back - began:.0f} s",
        "accepted": len(accepted),
        "waited when it was over": waiting,
        "asked in vain meanwhile": provider.turned_away,
        "first message after": f"{after[0][0] - back:.1f} s",
        "usual peak": f"{usual} a second",
        "peak after": f"{_peak(after)} a second",
        "peak after, by the usual": round(_peak(after) / usual, 2),
        "drained after": f"{drained - back:.1f} s",
        "lost": sum(identity not in sent for identity in accepted),
        "duplicated": sum(count > 1 for count in sent.values()),
    }


async def _accept(outbox: Outbox, accepted: list[str], count: int) -> None:
    content = msgspec.msgpack.encode(SmsContent(text="Hello there"))
    new = [new_id() for _ in range(count)]
    await asyncio.gather(
        *(
            outbox.put(
                NewMessage(
                    id=identity,
                    client="brand",
                    channel=Channel.SMS,
                    uid=identity,
                    fingerprint=bytes(32),
                    ext_user_id="anna",
                    preview="",
                    callback_url="",
                    content=content,
                    lifetime=86_400.0,
                )
            )
            for identity in new
        )
    )
    accepted += new


async def _come(outbox: Outbox, accepted: list[str]) -> None:
    while True:
        await asyncio.sleep(1.0)
        await _accept(outbox, accepted, A_SECOND)


async def _drained(outbox: Outbox, fewer_than: int = 1) -> None:
    while sum((await outbox.depth()).messages.values()) >= fewer_than:
        await asyncio.sleep(1.0)


def _peak(taken: list[tuple[float, str]]) -> int:
    """The most messages of any second."""
    return max(Counter(int(at) for at, _ in taken).values())
