"""A running gateway: what lives as long as its process, and the change from one configuration to another."""

import asyncio
import gc
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from gatepost.alerts.loop import Alerts
from gatepost.callbacks.client import CallbackClient
from gatepost.callbacks.worker import CallbackWorker
from gatepost.config.settings import Settings
from gatepost.contacts.lookup import ContactCache
from gatepost.delivery.in_flight import InFlight
from gatepost.generation import Generation, LastingParts
from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle
from gatepost.outbox import Outbox, outbox_policy
from gatepost.outbox.refusals import RefusalLog
from gatepost.plugin_host.instances import Instance
from gatepost.plugin_host.isolation import default_close_timeout
from gatepost.plugin_host.startup import OpenInstances
from gatepost.upkeep.heartbeat import Heartbeat
from gatepost.upkeep.housekeeping import run_housekeeping
from gatepost.upkeep.loop_lag import measure_loop_lag
from gatepost.upkeep.pauses import follow_pauses
from gatepost.web.admin import status
from gatepost.web.admin.requests import StatusRequest
from gatepost.web.admin.services import AdminServices, OperationRefused
from gatepost.web.services import Services

DRAIN_TIMEOUT = 10.0
"""Seconds that a stop waits for messages and callbacks in progress, of the 12 that the contract gives it."""

MIN_PLUGIN_CLOSE_TIMEOUT = 0.5
"""Seconds that plugins always have to close. With DRAIN_TIMEOUT and twice isolation.CANCEL_TIMEOUT, for a send and for a
close that ignore their cancellation, they make 11.5 s: the store has half a second for what these steps leave to it."""

REQUEST_GRACE = 2.0
"""Seconds after a reload for which requests in hand may still use the plugins that the new configuration does not have."""

STOPPING = "the gateway stops"
"""Why it takes over no configuration any more."""

_log = logs.get(__name__)


class Gateway:
    """The parts of a gateway behind the routes, and the loops that work on its messages."""

    def __init__(
        self,
        settings: Settings,
        instances: Mapping[str, Instance],
        *,
        opened: OpenInstances,
        outbox: Outbox,
        callback_client: CallbackClient,
    ) -> None:
        """``instances`` are open, and listed in ``opened``."""
        self.outbox = outbox
        self._opened = opened
        self.contact_cache = ContactCache()
        self._refusals = RefusalLog(outbox, LogThrottle(time.monotonic))
        self._lasting = LastingParts(
            outbox, self.contact_cache, InFlight(outbox, time.monotonic), self._refusals
        )
        self._current = current = Generation(settings, instances, self._lasting, None)
        self._retiring: dict[Generation, asyncio.Task[None]] = {}
        self.callbacks = CallbackWorker(
            settings,
            outbox=outbox,
            url_policies=current.url_policies,
            callback_client=callback_client,
            metrics=current.services.metrics,
        )
        self._heartbeat = Heartbeat(outbox)
        parts = (
            current.acceptance,
            current.contacts,
            self.callbacks,
            current.throttles,
            instances,
            self._heartbeat,
        )
        self.admin = AdminServices(settings, outbox, *parts, self._scrape)
        self._alerts = Alerts(settings, outbox, lambda: status.status(self.admin, StatusRequest(), "alerts"))
        self.on_reload: list[Callable[[Settings], object]] = []
        """What is called with each configuration that has been taken over."""
        self._stop_by = math.inf

    @property
    def settings(self) -> Settings:
        """The configuration in use."""
        return self._current.settings

    @property
    def instances(self) -> Mapping[str, Instance]:
        """The instances in use."""
        return self._current.instances

    @property
    def services(self) -> Services:
        """What the routes call, of the configuration in use."""
        return self._current.services

    @property
    def is_stopping(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stop_by < math.inf

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the loops while the block runs; then finish what is in progress, for at most DRAIN_TIMEOUT seconds."""
        # Before the first claim.
        await self._current.prepare()
        await self._heartbeat.beat()
        self._current.start(self._check_loop_end)
        callbacks = asyncio.create_task(self.callbacks.run(), name="callbacks")
        housekeeping = run_housekeeping(
            self.outbox, self.contact_cache, lambda: self.services.webhooks.refused_instances
        )
        upkeep = [
            asyncio.create_task(housekeeping, name="housekeeping"),
            asyncio.create_task(follow_pauses(self.outbox), name="pauses"),
            asyncio.create_task(measure_loop_lag(self.services.metrics.loop_lag), name="loop-lag"),
            asyncio.create_task(self._refusals.run(), name="refusals"),
            asyncio.create_task(self._heartbeat.run(), name="heartbeat"),
            asyncio.create_task(self._alerts.run(), name="alerts"),
        ]
        for task in (callbacks, *upkeep):
            task.add_done_callback(self._check_loop_end)
        try:
            yield
        finally:
            for task in upkeep:
                task.cancel()
            self.stop()
            ending = asyncio.create_task(self._heartbeat.stop(), name="heartbeat-stop")
            workers = [callbacks, *(one.worker for one in (self._current, *self._retiring) if one.worker)]
            retirements = [*self._retiring.values()]
            for task in retirements:
                task.cancel()
            left = max(0.0, self._stop_by - asyncio.get_running_loop().time())
            _done, unfinished = await asyncio.wait(workers, timeout=left)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*workers, *upkeep, ending, *retirements, return_exceptions=True)

    async def take_over(self, settings: Settings, instances: Mapping[str, Instance]) -> None:
        """Use another configuration from now on; what is in hand goes on with what it has.

        ``instances`` are those of ``self.instances`` that stay, and new ones, which are opened. Raises ConfigError
        where one of them can't be opened, and OperationRefused while the gateway stops. Then nothing changes.
        """
        added = [one for one in instances.values() if one not in self.instances.values()]
        await self._opened.open(added)
        old, is_done = self._current, False
        try:
            new = Generation(settings, instances, self._lasting, old)
            await new.prepare()
            is_done = not self.is_stopping
        finally:
            if not is_done:
                await self._opened.close(added)
        if self.is_stopping:
            raise OperationRefused(STOPPING)
        # From here on without an await: each request has all of the old configuration or all of the new one.
        self._current = new
        self.outbox.policy = outbox_policy(settings)
        self.outbox.missing_keys.reset()
        self.callbacks.take_over(settings, new.url_policies)
        admin = self.admin
        admin.settings, admin.acceptance, admin.contacts = settings, new.acceptance, new.contacts
        admin.throttles, admin.instances = new.throttles, instances
        self._alerts.take_over(settings)
        old.retire()
        new.start(self._check_loop_end)
        self._retiring[old] = retirement = asyncio.create_task(self._retire(old), name="retirement")
        retirement.add_done_callback(self._check_loop_end)
        for follow in self.on_reload:
            follow(settings)

    def stop(self) -> None:
        """Claim nothing more; work in progress goes on for at most DRAIN_TIMEOUT seconds from the first call."""
        self._stop_by = min(self._stop_by, asyncio.get_running_loop().time() + DRAIN_TIMEOUT)
        for one in (self._current, *self._retiring):
            one.stop()
        self.callbacks.stop()

    async def _scrape(self) -> bytes:
        return await self.services.scrape()

    def plugin_close_timeout(self) -> float:
        """Return the seconds that plugins may take to close: what is left of the time for a stop."""
        left = self._stop_by + MIN_PLUGIN_CLOSE_TIMEOUT - asyncio.get_running_loop().time()
        return min(default_close_timeout(), max(MIN_PLUGIN_CLOSE_TIMEOUT, left))

    async def _retire(self, old: Generation) -> None:
        """Wait until an old configuration is no longer used, and close the plugins that nobody else uses."""
        assert old.worker
        await asyncio.sleep(REQUEST_GRACE)
        await asyncio.wait([old.worker])
        del self._retiring[old]
        in_use = {
            one for generation in (self._current, *self._retiring) for one in generation.instances.values()
        }
        await self._opened.close([one for one in old.instances.values() if one not in in_use])
        # What has gone refers to itself in circles, and the collector is set to run rarely.
        gc.collect()

    def _check_loop_end(self, task: asyncio.Task[None]) -> None:
        """Stop the process when a loop has failed, because without it nothing would be sent any more."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("worker_failed", worker=task.get_name(), exc_info=error)
            self.outbox.fail(f"the worker {task.get_name()} failed")
