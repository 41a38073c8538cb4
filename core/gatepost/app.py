"""The composition root: from a configuration to a gateway that runs."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from litestar import Litestar
from litestar.exceptions import HTTPException

from gatepost import preflight
from gatepost.body_limit import BodyLimit
from gatepost.callback_urls import CallbackUrlPolicy
from gatepost.callbacks.client import CallbackClient
from gatepost.callbacks.worker import CallbackWorker
from gatepost.config.settings import Settings
from gatepost.config.toml_file import read_settings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.delivery.failover import RouteMember
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import ConfigError, Fault
from gatepost.intake.accept import Acceptance
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox, Policy, open_outbox
from gatepost.outbox.inspection import check_store
from gatepost.plugin_host import discovery
from gatepost.plugin_host.instances import Instance
from gatepost.plugin_host.isolation import patience
from gatepost.plugin_host.startup import build_instances, open_instances
from gatepost.throttle import Throttle
from gatepost.upkeep.health import Health
from gatepost.upkeep.housekeeping import keep_house
from gatepost.web import messages, routes
from gatepost.web.admin import AdminApi
from gatepost.web.auth import Authenticator
from gatepost.web.services import SERVICES_KEY, Services
from gatepost.webhooks import Webhooks

DRAIN_TIMEOUT = 11.0
"""Seconds that a stop waits for what is in hand, of the 12 that the contract gives it."""

LEAVING = 0.5
"""Seconds that the plugins have to close in any case; with the half that a cancelled one has, these are the 12."""

_log = logs.get(__name__)


def load(path: Path) -> tuple[Settings, dict[str, Instance]]:
    """Read the configuration and make its plugins; raises ConfigError with every fault there is."""
    settings, instances, faults = examine(path)
    if settings is None or faults:
        raise ConfigError(faults)
    return settings, instances


def examine(path: Path) -> tuple[Settings | None, dict[str, Instance], list[Fault]]:
    """What of the configuration could be used, and all that is wrong with it. Opens no plugin and no store."""
    settings, faults = read_settings(path, discovery.settings_type)
    if settings is None:
        return None, {}, faults
    logs.never(settings)
    instances, more = build_instances(settings)
    faults += more
    return settings, instances, [*faults, *preflight.faults(settings, {fault.key for fault in faults})]


class Gateway:
    """Everything that runs behind the routes."""

    def __init__(
        self,
        settings: Settings,
        instances: Mapping[str, Instance],
        outbox: Outbox,
        callback_client: CallbackClient,
    ) -> None:
        self.settings = settings
        self.instances = instances
        self.outbox = outbox
        self.metrics = _metrics(settings, instances)
        members = {
            name: RouteMember(
                one,
                Throttle(
                    concurrency=one.settings.concurrency,
                    per_second=one.settings.per_second,
                    clients=len(settings.clients),
                ),
            )
            for name, one in instances.items()
            if one.channels
        }
        contacts = Contacts(
            {client: [instances[name] for name in settings.sources(client)] for client in settings.clients},
            settings.contacts.timeout,
            settings.contacts.default_region,
        )
        self.contact_cache = ContactCache()
        url_policies = {
            name: CallbackUrlPolicy(client.callback_hosts, client.allow_private_callbacks)
            for name, client in settings.clients.items()
        }
        self.delivery = DeliveryWorker(
            settings,
            outbox=outbox,
            members=members,
            contacts=contacts,
            contact_cache=self.contact_cache,
            metrics=self.metrics,
        )
        self.callbacks = CallbackWorker(
            settings,
            outbox=outbox,
            url_policies=url_policies,
            callback_client=callback_client,
            metrics=self.metrics,
        )
        acceptance = Acceptance(
            settings,
            outbox=outbox,
            contacts=contacts,
            contact_cache=self.contact_cache,
            url_policies=url_policies,
        )
        throttles = {name: member.throttle for name, member in members.items()}
        self.admin = AdminApi(settings, outbox, acceptance, self.callbacks, throttles)
        self.services = Services(
            settings=settings,
            authenticator=Authenticator(
                settings.clients, settings.server.trusted_proxies, settings.server.metrics_allow
            ),
            acceptance=acceptance,
            webhooks=Webhooks(instances, settings.routes, outbox, self.metrics),
            admin=self.admin,
            # At least one of the largest that the operator allows must fit.
            bodies=BodyLimit(max(messages.MAX_BYTES_IN_FLIGHT, settings.server.max_body)),
            metrics=self.metrics,
            health=Health(routes=settings.routes, outbox=outbox, throttles=throttles, metrics=self.metrics),
        )
        self._stop_by = math.inf

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loops; on the way out finish what is in hand, for at most DRAIN_TIMEOUT seconds."""
        loops = [
            asyncio.create_task(self.delivery.run(), name="delivery"),
            asyncio.create_task(self.callbacks.run(), name="callbacks"),
        ]
        keeping = asyncio.create_task(keep_house(self.outbox, self.contact_cache), name="housekeeping")
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
        """Claim nothing more; what is in hand goes on, for at most DRAIN_TIMEOUT seconds from the first call."""
        self._stop_by = min(self._stop_by, asyncio.get_running_loop().time() + DRAIN_TIMEOUT)
        self.delivery.stop()
        self.callbacks.stop()

    def closing(self) -> float:
        """Seconds that plugins may take to close: what the drain has left of the time for a stop."""
        left = self._stop_by + LEAVING - asyncio.get_running_loop().time()
        return min(patience(), max(LEAVING, left))

    def _fell(self, task: asyncio.Task[None]) -> None:
        """A loop must not end by an error of ours in silence: without it nothing is sent any more."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("loop_fell", loop=task.get_name(), exc_info=error)
            self.outbox.fail(f"{task.get_name()} fell")


def _metrics(settings: Settings, instances: Mapping[str, Instance]) -> Metrics:
    """Every series that this configuration can bring about, at zero."""
    metrics = Metrics(
        clients=settings.clients,
        providers=[name for name, one in instances.items() if one.channels],
        reporters=[name for name, one in instances.items() if one.takes_webhooks],
    )
    metrics.counter(
        "plugin_faults",
        "How often a plugin broke its contract",
        ["plugin"],
        lambda: {(name,): one.faults for name, one in instances.items()},
    )
    metrics.counter(
        "contact_lookups_failed",
        "Lookups of users that a contact source could not answer",
        ["plugin"],
        lambda: {(name,): one.failed_lookups for name, one in instances.items() if one.is_source},
    )
    return metrics


@asynccontextmanager
async def open_gateway(
    settings: Settings, instances: Mapping[str, Instance], known: Sequence[Fault] = ()
) -> AsyncIterator[Gateway]:
    """Open the plugins, the store and the loops; close the loops, the plugins and then the store.

    The store comes after the plugins, so that a start which they forbid has changed nothing in it: what is said
    of a message that was found there is said once. ``known`` are faults that already forbid the start. With any
    fault the store is only looked at, and no loop runs. Raises ConfigError with those faults and with everything
    that is wrong with the plugins and the store.
    """
    delivery = settings.delivery
    policy = Policy(
        uncertain_wait=delivery.uncertain_wait,
        hold_uncertain=delivery.uncertain == "hold",
        retention=delivery.retention,
    )
    faults = [*known]
    gateway: Gateway | None = None

    def closing() -> float:
        return gateway.closing() if gateway else patience()

    async with AsyncExitStack() as stack:
        plugins = await stack.enter_async_context(AsyncExitStack())
        try:
            await plugins.enter_async_context(open_instances(instances.values(), closing))
        except ConfigError as error:
            faults += error.faults
        if faults:
            try:
                await check_store(settings.store.url, settings.path.parent)
            except ConfigError as error:
                faults += error.faults
            raise ConfigError(faults)
        outbox = await stack.enter_async_context(
            open_outbox(settings.store.url, settings.path.parent, policy)
        )
        # From here on they close before the store does.
        await stack.enter_async_context(plugins.pop_all())
        callback_client = await stack.enter_async_context(CallbackClient())
        gateway = Gateway(settings, instances, outbox, callback_client)
        await stack.enter_async_context(gateway.running())
        yield gateway


def create_app(services: Services) -> Litestar:
    """The routes as an ASGI application.

    It has no lifespan: Litestar would wrap whatever is raised in one into an ExceptionGroup.
    """
    app = routes.Api(
        route_handlers=routes.routes(),
        after_exception=[routes.log_unexpected],
        exception_handlers={HTTPException: routes.empty_answer},
        # Its pages load scripts from elsewhere and would be open to everybody.
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    app.state[SERVICES_KEY] = services
    return app
