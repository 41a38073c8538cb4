"""The composition root: from a configuration to a gateway that runs."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from litestar import Litestar

from gatepost import api, instances, logs, senders, settings
from gatepost.acceptance import Acceptance
from gatepost.access import Access
from gatepost.callbacks import Callbacks
from gatepost.contacts import Contacts, Remembered, check_region
from gatepost.control import Control
from gatepost.delivery import Delivery, Provider
from gatepost.errors import ConfigError, Fault, StoreError
from gatepost.instances import Instance
from gatepost.metrics import Metrics
from gatepost.model import Channel
from gatepost.outbox import Outbox, Policy, open_outbox
from gatepost.pace import Health, Pace
from gatepost.settings import Settings
from gatepost.targets import Caller, TargetRefused, Targets
from gatepost.webhooks import Webhooks

DRAIN = 11.5
"""Seconds that a stop waits for what is in hand, of the 12 that the contract gives it."""

SWEEP_EVERY = 1.0
PRUNE_EVERY = 10.0
PRUNE_PAUSE = 0.05

_log = logs.get(__name__)


def load(path: Path) -> tuple[Settings, dict[str, Instance]]:
    """Read the configuration and make its plugins; raises ConfigError with every fault there is."""
    read, made, faults = examine(path)
    if read is None or faults:
        raise ConfigError(faults)
    return read, made


def examine(path: Path) -> tuple[Settings | None, dict[str, Instance], list[Fault]]:
    """What of the configuration could be used, and everything that is wrong with it. Opens nothing."""
    read, faults = settings.read(path, instances.settings_type)
    if read is None:
        return None, {}, faults
    made, more = instances.build(read)
    faults = [*faults, *more, *_client_faults(read)]
    if read.contacts.default_region:
        try:
            check_region(read.contacts.default_region)
        except ConfigError as error:
            faults += error.faults
    return read, made, faults


def _client_faults(read: Settings) -> list[Fault]:
    faults = []
    for name, client in read.clients.items():
        path = f"clients.{name}"
        hosts = Targets.faults(client.callback_hosts)
        faults += [Fault(f"{path}.callback_hosts", text) for text in hosts]
        faults += [Fault(f"{path}.email_senders", text) for text in senders.faults(client.email_senders)]
        if client.callback_url and not hosts:
            try:
                Targets(client.callback_hosts, client.allow_private_callbacks).check(client.callback_url)
            except TargetRefused as error:
                faults.append(Fault(f"{path}.callback_url", str(error)))
    return faults


class Gateway:
    """Everything that runs behind the routes."""

    def __init__(self, read: Settings, made: Mapping[str, Instance], outbox: Outbox, caller: Caller) -> None:
        self.settings = read
        self.instances = made
        self.outbox = outbox
        self.metrics = Metrics()
        self.providers = {
            name: Provider(
                one, Pace(concurrency=one.settings.concurrency, per_second=one.settings.per_second)
            )
            for name, one in made.items()
            if one.channels
        }
        contacts = Contacts(
            [made[name] for name in read.contacts.sources],
            read.contacts.timeout,
            read.contacts.default_region,
        )
        remembered = Remembered()
        targets = {
            name: Targets(client.callback_hosts, client.allow_private_callbacks)
            for name, client in read.clients.items()
        }
        self.delivery = Delivery(
            read,
            outbox=outbox,
            providers=self.providers,
            contacts=contacts,
            remembered=remembered,
            metrics=self.metrics,
        )
        self.callbacks = Callbacks(read, outbox=outbox, targets=targets, caller=caller, metrics=self.metrics)
        acceptance = Acceptance(
            read, outbox=outbox, contacts=contacts, remembered=remembered, targets=targets
        )
        self.control = Control(read, outbox, acceptance)
        self.rooms = api.Rooms(
            settings=read,
            access=Access(read.clients, read.server.trusted_proxies),
            acceptance=acceptance,
            webhooks=Webhooks(made, outbox, self.metrics),
            control=self.control,
            metrics=self.metrics,
            readiness=self.readiness,
            refresh=self._refresh,
        )
        self._stop_by = math.inf
        self._queued: dict[tuple[str, ...], float] = {}
        self._oldest: dict[tuple[str, ...], float] = {}
        self._untold: dict[tuple[str, ...], float] = {}
        self._add_gauges()

    def readiness(self) -> api.Ready:
        """Whether messages would be taken and sent."""
        now = asyncio.get_running_loop().time()
        conditions = {name: provider.pace.describe(now) for name, provider in self.providers.items()}
        problems = ["the store is broken"] if self.outbox.broken.done() else []
        problems += [
            f"routes.{channel}: nobody on it can send now"
            for channel in Channel
            if (route := self.settings.routes.of(channel))
            and all(conditions[name].health is Health.RESTING for name in route)
        ]
        return api.Ready(
            ready=not problems,
            problems=problems,
            instances={
                name: {
                    "health": one.health,
                    "rests": round(one.rests, 1),
                    "misconfigured": one.misconfigured,
                    "reason": one.reason,
                }
                for name, one in conditions.items()
            },
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loops; on the way out finish what is in hand, for at most DRAIN seconds."""
        loops = [
            asyncio.create_task(self.delivery.run(), name="delivery"),
            asyncio.create_task(self.callbacks.run(), name="callbacks"),
        ]
        keeping = asyncio.create_task(self._keep_house(), name="housekeeping")
        for task in (*loops, keeping):
            task.add_done_callback(self._fell)
        try:
            yield
        finally:
            keeping.cancel()
            self.stop()
            left = max(0.0, self._stop_by - asyncio.get_running_loop().time())
            _done, late = await asyncio.wait(loops, timeout=left)
            for task in late:
                task.cancel()
            await asyncio.gather(*loops, keeping, return_exceptions=True)

    def stop(self) -> None:
        """Claim nothing more; what is in hand goes on, for at most DRAIN seconds from the first call."""
        self._stop_by = min(self._stop_by, asyncio.get_running_loop().time() + DRAIN)
        self.delivery.stop()
        self.callbacks.stop()

    def _fell(self, task: asyncio.Task[None]) -> None:
        """A loop must not end by an error of ours in silence: without it nothing is sent any more."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("loop_fell", loop=task.get_name(), exc_info=error)
            self.outbox.give_up(f"{task.get_name()} fell")

    async def _keep_house(self) -> None:
        """Move what nobody holds; forget what is old."""
        loop = asyncio.get_running_loop()
        prune_at = loop.time() + PRUNE_EVERY
        while True:
            try:
                while (swept := await self.outbox.sweep()).moved:
                    _log.info("swept", **{name: getattr(swept, name) for name in swept.__struct_fields__})
                if loop.time() >= prune_at:
                    prune_at = loop.time() + PRUNE_EVERY
                    await self._prune()
            except StoreError as error:
                _log.warning("sweep_failed", reason=str(error))
            await asyncio.sleep(SWEEP_EVERY)

    async def _prune(self) -> None:
        """Forget all that is old, in small steps, so that nobody waits for it."""
        forgotten = 1
        while forgotten:
            forgotten = await self.outbox.prune()
            await asyncio.sleep(PRUNE_PAUSE)

    def _add_gauges(self) -> None:
        self.metrics.gauge(
            "gatepost_queue_messages",
            "Messages not at their end",
            ["channel", "state"],
            lambda: self._queued,
        )
        self.metrics.gauge(
            "gatepost_queue_age_seconds",
            "How long the longest waiting message is overdue",
            ["channel"],
            lambda: self._oldest,
        )
        self.metrics.gauge(
            "gatepost_callbacks_waiting",
            "Statuses that Smartico is still to be told",
            ["state"],
            lambda: self._untold,
        )

    async def _refresh(self) -> None:
        try:
            depth = await self.outbox.depth()
        except StoreError as error:
            _log.warning("depth_unknown", reason=str(error))
            return
        self._queued = {(channel, state): float(n) for (channel, state), n in depth.messages.items()}
        self._oldest = {(channel,): age for channel, age in depth.oldest.items()}
        self._untold = {(state,): float(n) for state, n in depth.callbacks.items()}


@asynccontextmanager
async def open_gateway(read: Settings, made: Mapping[str, Instance]) -> AsyncIterator[Gateway]:
    """Open the store, the plugins and the loops, in this order; close them in the other."""
    delivery = read.delivery
    policy = Policy(
        uncertain_wait=delivery.uncertain_wait,
        hold=delivery.uncertain == "hold",
        retention=delivery.retention,
    )
    async with AsyncExitStack() as stack:
        outbox = await stack.enter_async_context(open_outbox(read.store.url, read.path.parent, policy))
        await stack.enter_async_context(instances.opened(made.values()))
        caller = await stack.enter_async_context(Caller())
        gateway = Gateway(read, made, outbox, caller)
        await stack.enter_async_context(gateway.running())
        yield gateway


def create_app(
    read: Settings,
    made: Mapping[str, Instance],
    *,
    opened: Callable[[Gateway], None] = lambda _gateway: None,
) -> Litestar:
    """The gateway as an ASGI application; its lifespan opens and closes everything.

    ``opened`` is called with the Gateway once it runs.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_gateway(read, made) as gateway:
            app.state[api.ROOMS] = gateway.rooms
            opened(gateway)
            yield

    return Litestar(
        route_handlers=api.routes(),
        lifespan=[lifespan],
        after_exception=[api.log_unexpected],
        # Its pages load scripts from elsewhere and would be open to everybody.
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
