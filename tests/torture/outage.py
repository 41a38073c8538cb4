# ruff: noqa: ASYNC110  the outbox has no event for an empty queue
"""An hour without a provider, in fast-forward: afterwards the queue must not be sent all at once."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from gatepost.config.client import Client
from gatepost.config.routes import Routes
from gatepost.config.settings import Contacts as ContactSettings
from gatepost.config.settings import Delivery as DeliverySettings
from gatepost.config.settings import InstanceSettings, Logs, Server, Settings, Store
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery.routes import RouteMember
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Receipt, Secret, Sms
from gatepost.observe.metrics import Metrics
from gatepost.outbox import NewMessage, Outbox, Policy, new_id, open_outbox
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from gatepost.upkeep.housekeeping import run_housekeeping
from torture.fast_forward import FastForward
from torture.oracle import Figures

CONCURRENCY = 16
SEND_SECONDS = 0.2
"""How long the provider takes for a message; a tenth of it to answer that it is down."""

FULL_QUEUE = 2_400
"""Messages queued for a provider that works, to measure how many it usually gets per second."""

ARRIVALS_PER_SECOND = 2
"""Messages that come during the outage and after it."""

START_TIME = 1_800_000_000.0
"""Seconds since the epoch at which the fast-forward begins."""


class FlakyProvider:
    """A provider that can be switched off."""

    def __init__(self) -> None:
        self.down = False
        self.sends: list[tuple[float, str]] = []
        """When it took which message."""
        self.unavailable = 0
        """Sends that it answered with Unavailable."""

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        if self.down:
            await asyncio.sleep(SEND_SECONDS / 10)
            self.unavailable += 1
            raise Unavailable("down")
        self.sends.append((asyncio.get_running_loop().time(), message.id))
        await asyncio.sleep(SEND_SECONDS)
        return Receipt()


class Users:
    """A contact source in which all users have the same address and number."""

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact:
        return Contact(email=Secret("anna@players.example"), phone=Secret("+447700900123"))


class ForgetfulThrottle(Throttle):
    """A planted defect: a breaker that forgets the concurrency after a rest."""

    _has_rested = False

    def sends_allowed(self, now: float) -> int:
        self._has_rested = self._has_rested or self._tripped
        return 500 if self._has_rested and not self._tripped else super().sends_allowed(now)


def sms_settings(folder: Path, *route: str) -> Settings:
    """Return the settings of a gateway that sends SMS by this route, with a lifetime of a day."""
    return Settings(
        path=folder / "gatepost.toml",
        server=Server(),
        store=Store(),
        clients={"brand": Client(authorization=())},
        contacts=ContactSettings(sources=("users",)),
        delivery=DeliverySettings(sms_lifetime=86_400.0),
        routes=Routes(sms=Routes.listed(Channel.SMS, route)),
        logs=Logs(),
        plugins={},
    )


def run(
    folder: Path,
    *,
    seconds: float,
    full_queue: int = FULL_QUEUE,
    throttle: Callable[..., Throttle] = Throttle,
) -> Figures:
    """Simulate an outage of this many seconds; ``throttle`` builds the provider's breaker."""
    folder.mkdir(parents=True, exist_ok=True)
    # Each failed try writes a line to the log.
    with structlog.testing.capture_logs(), asyncio.Runner(loop_factory=FastForward) as runner:
        return runner.run(_simulate(folder, seconds, full_queue, throttle))


async def _simulate(
    folder: Path, seconds: float, full_queue: int, throttle: Callable[..., Throttle]
) -> Figures:
    loop = asyncio.get_running_loop()
    provider = FlakyProvider()
    async with open_outbox(
        Secret("sqlite:///outbox.db"), folder, Policy(), clock=lambda: START_TIME + loop.time()
    ) as outbox:
        contact_cache = ContactCache()
        delivery = _delivery(folder, outbox, provider, throttle, contact_cache)
        accepted: list[str] = []
        await _accept(outbox, accepted, full_queue)
        worker = asyncio.create_task(delivery.run())
        housekeeping = asyncio.create_task(run_housekeeping(outbox, contact_cache, frozenset))
        await _wait_for_queue(outbox)
        usual_peak = _peak(provider.sends)

        provider.down, began = True, loop.time()
        arrivals = asyncio.create_task(_accept_continuously(outbox, accepted))
        await asyncio.sleep(seconds)
        provider.down, ended = False, loop.time()
        queued = len(accepted) - len(provider.sends)
        await _wait_for_queue(outbox, fewer_than=10)
        drained = loop.time()
        arrivals.cancel()
        await asyncio.gather(arrivals, return_exceptions=True)
        await _wait_for_queue(outbox)
        delivery.stop()
        housekeeping.cancel()
        await asyncio.gather(worker, housekeeping, return_exceptions=True)
    return {
        "outage": f"{ended - began:.0f} s",
        "queued at the end of the outage": queued,
        "queue empty after": f"{drained - ended:.1f} s",
        "usual peak": f"{usual_peak} per second",
        **_figures(provider, accepted, ended, usual_peak),
    }


def _figures(provider: FlakyProvider, accepted: list[str], ended: float, usual_peak: int) -> Figures:
    sends_after = [(time, message_id) for time, message_id in provider.sends if time >= ended]
    peak = _peak(sends_after)
    counts = Counter(message_id for _, message_id in provider.sends)
    return {
        "accepted": len(accepted),
        "failed tries during the outage": provider.unavailable,
        "first message after": f"{sends_after[0][0] - ended:.1f} s",
        "peak after": f"{peak} per second",
        "peak after / usual peak": round(peak / usual_peak, 2),
        "lost": sum(message_id not in counts for message_id in accepted),
        "duplicated": sum(count > 1 for count in counts.values()),
    }


def _delivery(
    folder: Path,
    outbox: Outbox,
    provider: FlakyProvider,
    throttle: Callable[..., Throttle],
    contact_cache: ContactCache,
) -> DeliveryWorker:
    instance = Instance(InstanceSettings(name="provider", use="flaky"), provider)
    users = Instance(InstanceSettings(name="users", use="users"), Users())
    return DeliveryWorker(
        sms_settings(folder, "provider"),
        outbox=outbox,
        members={"provider": RouteMember(instance, throttle(concurrency=CONCURRENCY, per_second=0.0))},
        contacts=Contacts({"brand": [users]}, 2.0, ""),
        contact_cache=contact_cache,
        metrics=Metrics(),
        clock=asyncio.get_running_loop().time,
    )


async def _accept(outbox: Outbox, accepted: list[str], count: int) -> None:
    content = msgspec.msgpack.encode(SmsContent(text="Hello there"))
    ids = [new_id() for _ in range(count)]
    await asyncio.gather(
        *(
            outbox.put(
                NewMessage(
                    id=message_id,
                    client="brand",
                    channel=Channel.SMS,
                    uid=message_id,
                    fingerprint=bytes(32),
                    ext_user_id="anna",
                    preview="",
                    callback_url="",
                    content=content,
                    lifetime=86_400.0,
                )
            )
            for message_id in ids
        )
    )
    accepted += ids


async def _accept_continuously(outbox: Outbox, accepted: list[str]) -> None:
    while True:
        await asyncio.sleep(1.0)
        await _accept(outbox, accepted, ARRIVALS_PER_SECOND)


async def _wait_for_queue(outbox: Outbox, fewer_than: int = 1) -> None:
    """Wait until fewer messages than this are queued."""
    while sum((await outbox.depth()).messages.values()) >= fewer_than:
        await asyncio.sleep(1.0)


def _peak(sends: list[tuple[float, str]]) -> int:
    """Return the largest number of messages in one second."""
    return max(Counter(int(time) for time, _ in sends).values())
