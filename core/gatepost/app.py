"""The composition root: builds a running gateway from a configuration."""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gatepost import preflight
from gatepost.alerts.loop import Alerts
from gatepost.body_limit import BodyLimit
from gatepost.callback_urls import CallbackUrlPolicy
from gatepost.callbacks.client import CallbackClient
from gatepost.callbacks.worker import CallbackWorker
from gatepost.config.settings import Settings
from gatepost.config.toml_file import read_settings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.contacts.users import UserSearch
from gatepost.delivery.routes import RouteMember, route_member
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import ConfigError, Fault
from gatepost.intake.accept import Acceptance
from gatepost.observe import logs, redaction
from gatepost.observe.metrics import Metrics
from gatepost.observe.tracing_switch import open_tracing
from gatepost.observe.trail import Trail
from gatepost.outbox import Outbox, open_outbox, outbox_policy
from gatepost.outbox.inspection import check_store
from gatepost.plugin_host import discovery
from gatepost.plugin_host.instances import Instance
from gatepost.plugin_host.isolation import default_close_timeout
from gatepost.plugin_host.startup import build_instances, open_instances
from gatepost.throttle import Throttle
from gatepost.upkeep.balance import Balancer
from gatepost.upkeep.gateway_metrics import gateway_metrics
from gatepost.upkeep.health import HealthCheck
from gatepost.upkeep.heartbeat import Heartbeat
from gatepost.upkeep.housekeeping import run_housekeeping
from gatepost.upkeep.loop_lag import measure_loop_lag
from gatepost.upkeep.pauses import follow_pauses
from gatepost.upkeep.store_gauges import StoreMetrics
from gatepost.web import messages
from gatepost.web.admin import status
from gatepost.web.admin.requests import StatusRequest
from gatepost.web.admin.services import AdminServices
from gatepost.web.auth import Authenticator
from gatepost.web.services import Services
from gatepost.webhooks.handler import Webhooks

DRAIN_TIMEOUT = 11.0
"""Seconds that a stop waits for messages and callbacks in progress, of the 12 that the contract gives it."""

MIN_PLUGIN_CLOSE_TIMEOUT = 0.5
"""Seconds that plugins always have to close. With DRAIN_TIMEOUT and isolation.CANCEL_TIMEOUT they make 12 s."""

_log = logs.get(__name__)


def load(path: Path) -> tuple[Settings, dict[str, Instance]]:
    """Read the configuration and build its plugins; raises ConfigError with every fault."""
    settings, instances, faults = examine(path)
    if settings is None or faults:
        raise ConfigError(faults)
    return settings, instances


def examine(path: Path) -> tuple[Settings | None, dict[str, Instance], list[Fault]]:
    """Read the configuration and build its plugins; returns what is usable, and every fault.

    Opens no plugin and no store. The settings are None when the file can't be read.
    """
    settings, faults = read_settings(path, discovery.settings_type)
    if settings is None:
        return None, {}, faults
    redaction.redact_settings(settings)
    instances, more = build_instances(settings)
    faults += more
    return settings, instances, [*faults, *preflight.find_faults(settings, {fault.key for fault in faults})]


class Gateway:
    """The parts of a gateway behind the routes, and the loops that work on its messages."""

    def __init__(
        self,
        settings: Settings,
        instances: Mapping[str, Instance],
        outbox: Outbox,
        callback_client: CallbackClient,
    ) -> None:
        self.outbox = outbox
        metrics = gateway_metrics(settings, instances, outbox)
        members = _route_members(settings, instances, shared=outbox.is_shared)
        throttles = {name: member.throttle for name, member in members.items()}
        contacts = _contacts(settings, instances)
        url_policies = _url_policies(settings)
        self.contact_cache = cache = ContactCache()
        self.delivery = DeliveryWorker(
            settings,
            outbox=outbox,
            members=members,
            contacts=contacts,
            contact_cache=cache,
            metrics=metrics,
            paused=outbox.pauses,
        )
        self.callbacks = CallbackWorker(
            settings,
            outbox=outbox,
            url_policies=url_policies,
            callback_client=callback_client,
            metrics=metrics,
        )
        self._acceptance = Acceptance(
            settings, outbox=outbox, contacts=contacts, contact_cache=cache, url_policies=url_policies
        )
        self.services = _services(settings, instances, outbox, self._acceptance, throttles, metrics)
        self._heartbeat = beat = Heartbeat(outbox)
        self.admin = AdminServices(
            settings, outbox, self._acceptance, self.callbacks, throttles, instances, beat
        )
        self._alerts = Alerts(settings, outbox, lambda: status.status(self.admin, StatusRequest(), "alerts"))
        self._stop_by = math.inf

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the loops while the block runs; then finish what is in progress, for at most DRAIN_TIMEOUT seconds."""
        webhooks = self.services.webhooks
        balancer = Balancer(self.outbox, self.delivery.shares, lambda: webhooks.refused_instances)
        # Before the first claim: what has lost its share does not get it back by a restart.
        await balancer.update()
        await self._heartbeat.beat()
        workers = [
            asyncio.create_task(self.delivery.run(), name="delivery"),
            asyncio.create_task(self.callbacks.run(), name="callbacks"),
        ]
        housekeeping = run_housekeeping(self.outbox, self.contact_cache, lambda: webhooks.refused_instances)
        upkeep = [
            asyncio.create_task(housekeeping, name="housekeeping"),
            asyncio.create_task(follow_pauses(self.outbox), name="pauses"),
            asyncio.create_task(balancer.run(), name="balance"),
            asyncio.create_task(measure_loop_lag(self.services.metrics.loop_lag), name="loop-lag"),
            asyncio.create_task(self._acceptance.refusals.run(), name="refusals"),
            asyncio.create_task(self._heartbeat.run(), name="heartbeat"),
            asyncio.create_task(self._alerts.run(), name="alerts"),
        ]
        for task in (*workers, *upkeep):
            task.add_done_callback(self._check_loop_end)
        try:
            yield
        finally:
            for task in upkeep:
                task.cancel()
            self.stop()
            ending = asyncio.create_task(self._heartbeat.stop(), name="heartbeat-stop")
            left = max(0.0, self._stop_by - asyncio.get_running_loop().time())
            _done, unfinished = await asyncio.wait(workers, timeout=left)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*workers, *upkeep, ending, return_exceptions=True)

    def stop(self) -> None:
        """Claim nothing more; work in progress goes on for at most DRAIN_TIMEOUT seconds from the first call."""
        self._stop_by = min(self._stop_by, asyncio.get_running_loop().time() + DRAIN_TIMEOUT)
        self.delivery.stop()
        self.callbacks.stop()

    def plugin_close_timeout(self) -> float:
        """Return the seconds that plugins may take to close: what is left of the time for a stop."""
        left = self._stop_by + MIN_PLUGIN_CLOSE_TIMEOUT - asyncio.get_running_loop().time()
        return min(default_close_timeout(), max(MIN_PLUGIN_CLOSE_TIMEOUT, left))

    def _check_loop_end(self, task: asyncio.Task[None]) -> None:
        """Stop the process when a loop has failed, because without it nothing would be sent any more."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("worker_failed", worker=task.get_name(), exc_info=error)
            self.outbox.fail(f"the worker {task.get_name()} failed")


def _route_members(
    settings: Settings, instances: Mapping[str, Instance], *, shared: bool
) -> dict[str, RouteMember]:
    return {
        name: route_member(instance, clients=len(settings.clients), shared=shared)
        for name, instance in instances.items()
        if instance.channels
    }


def _contacts(settings: Settings, instances: Mapping[str, Instance]) -> Contacts:
    return Contacts(
        _sources(settings, instances), settings.contacts.timeout, settings.contacts.default_region
    )


def _user_search(settings: Settings, instances: Mapping[str, Instance]) -> UserSearch:
    return UserSearch(_sources(settings, instances), settings.routes, settings.contacts.timeout)


def _sources(settings: Settings, instances: Mapping[str, Instance]) -> dict[str, list[Instance]]:
    return {
        client: [instances[name] for name in settings.contact_sources(client)] for client in settings.clients
    }


def _url_policies(settings: Settings) -> dict[str, CallbackUrlPolicy]:
    return {
        name: CallbackUrlPolicy(client.callback_hosts, client.allow_private_callbacks)
        for name, client in settings.clients.items()
    }


def _services(
    settings: Settings,
    instances: Mapping[str, Instance],
    outbox: Outbox,
    acceptance: Acceptance,
    throttles: Mapping[str, Throttle],
    metrics: Metrics,
) -> Services:
    return Services(
        settings=settings,
        authenticator=Authenticator(
            settings.clients, settings.server.trusted_proxies, settings.server.metrics_allow
        ),
        acceptance=acceptance,
        webhooks=Webhooks(instances, settings.routes, outbox, _user_search(settings, instances), metrics),
        # One body of the largest size that the operator allows must always fit.
        bodies=BodyLimit(max(messages.MAX_BYTES_IN_FLIGHT, settings.server.max_body)),
        metrics=metrics,
        tracing=outbox.trail.tracing,
        store_metrics=StoreMetrics(settings, outbox, metrics),
        health=HealthCheck(routes=settings.routes, outbox=outbox, throttles=throttles, metrics=metrics),
    )


@asynccontextmanager
async def open_gateway(
    settings: Settings, instances: Mapping[str, Instance], known_faults: Sequence[Fault] = ()
) -> AsyncIterator[Gateway]:
    """Open the plugins and the store, and run the loops; at the end stop the loops, close the plugins, then the store.

    The store is opened after the plugins. So a start that they refuse changes nothing in it, and what is logged
    about messages found there is logged once. ``known_faults`` are faults that already forbid the start. With any
    fault the store is only examined, and no loop runs. Raises ConfigError with these faults and with all faults
    of the plugins and the store.
    """
    gateway: Gateway | None = None

    def close_timeout() -> float:
        return gateway.plugin_close_timeout() if gateway else default_close_timeout()

    async with AsyncExitStack() as stack:
        plugins = await stack.enter_async_context(AsyncExitStack())
        faults = [*known_faults]
        try:
            await plugins.enter_async_context(open_instances(instances.values(), close_timeout))
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError([*faults, *await _store_faults(settings)])
        tracing = open_tracing(os.environ)
        stack.push_async_callback(tracing.stopped)
        trail = Trail(settings.logs.trail, logs.resolve_format(settings.logs.format), tracing)
        stack.callback(trail.flush)
        outbox = await stack.enter_async_context(
            open_outbox(settings.store.url, settings.path.parent, outbox_policy(settings), trail=trail)
        )
        # From here on the plugins close before the store does.
        await stack.enter_async_context(plugins.pop_all())
        callback_client = await stack.enter_async_context(CallbackClient())
        gateway = Gateway(settings, instances, outbox, callback_client)
        for instance in instances.values():
            instance.services.start(gateway.services.webhooks, outbox)
        stack.callback(lambda: tracing.stop(close_timeout()))
        await stack.enter_async_context(gateway.run())
        yield gateway


async def _store_faults(settings: Settings) -> Sequence[Fault]:
    try:
        await check_store(settings.store.url, settings.path.parent)
    except ConfigError as error:
        return error.faults
    return ()
