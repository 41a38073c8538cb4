"""The start of the configured plugins: they are built and opened, and every fault is collected."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import MappingProxyType

import structlog

from gatepost import hookspecs
from gatepost.config.sender_domains import sender_domains
from gatepost.config.settings import InstanceSettings, Settings
from gatepost.errors import ConfigError, Fault
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.observe.tracebacks import format_traceback
from gatepost.plugin_host import discovery
from gatepost.plugin_host.instances import Instance
from gatepost.plugin_host.isolation import describe_error, faults_under
from gatepost.plugin_host.services import InstanceServices

_log = logs.get(__name__)


def build_instances(
    settings: Settings,
    in_use: Mapping[str, Instance] = MappingProxyType({}),
    used_with: Settings | None = None,
) -> tuple[dict[str, Instance], list[Fault]]:
    """Build every configured plugin; returns the instances that could be built, and all faults. Opens nothing.

    Of the instances ``in_use``, which were built from the settings ``used_with``, those stay that would be the same.
    """
    instances: dict[str, Instance] = {}
    faults: list[Fault] = []
    for name, own in settings.plugins.items():
        if name in in_use and used_with and _would_be_same(in_use[name], settings, used_with):
            instances[name] = in_use[name]
            continue
        try:
            instances[name] = _build(own, settings)
        except ConfigError as error:
            faults += error.faults
    return instances, [*faults, *_capability_faults(settings, instances)]


def _would_be_same(instance: Instance, settings: Settings, used_with: Settings) -> bool:
    """Return whether an instance built from these settings would differ in nothing from one in use.

    One whose lifespan has ended is of no use: a new one may work.
    """
    return not instance.has_ended and _origin(settings, instance.name) == _origin(used_with, instance.name)


def _origin(settings: Settings, name: str) -> Sequence[object]:
    """Return everything that an instance is built from."""
    contacts = settings.contacts
    folder = settings.path.absolute().parent
    return (
        settings.plugins[name],
        settings.server.public_url,
        contacts.timeout,
        contacts.default_region,
        folder,
        sender_domains(settings, name),
    )


def _build(settings: InstanceSettings, gateway: Settings) -> Instance:
    path = f"plugins.{settings.name}"
    base = gateway.server.public_url.rstrip("/")
    services = InstanceServices(settings.name)
    context = hookspecs.Context(
        name=settings.name,
        log=structlog.stdlib.get_logger("gatepost.plugins").bind(instance=settings.name),
        folder=gateway.path.absolute().parent,
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        lookup_timeout=gateway.contacts.timeout,
        default_region=gateway.contacts.default_region,
        webhook_url=f"{base}/webhooks/{settings.name}" if base else "",
        sender_domains=sender_domains(gateway, settings.name),
        report=services.report,
        state=services.state,
        lease=services.state.lease,
        warn=services.warn,
        confirm=services.confirm,
        advise=services.advise,
        describe_contacts=services.describe_contacts,
    )
    try:
        plugin = discovery.load(settings.use)(settings.settings, context)
    except ConfigError as error:
        raise ConfigError(faults_under(path, error)) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin's constructor may raise anything
        _log.debug("plugin_not_built", instance=settings.name, exception=format_traceback(error))
        package = type(settings.settings).__module__.partition(".")[0]
        raise ConfigError([Fault(path, f"could not be built: {describe_error(error, package)}")]) from None
    return Instance(settings, plugin, services)


def _capability_faults(settings: Settings, instances: Mapping[str, Instance]) -> Iterable[Fault]:
    """Yield a fault for each name of a plugin that can't do what is needed in that place.

    Names without a plugin are found by ``toml_file``.
    """
    for channel in Channel:
        for position, route in enumerate(settings.routes.of(channel)):
            for name in route.instances:
                if name in instances and channel not in instances[name].channels:
                    key = settings.routes.key(channel, position, "split" if route.split else "use")
                    yield Fault(key, f"{name} ({instances[name].use}) can't send {channel}")
    sources = {f"clients.{name}.contacts": client.contacts for name, client in settings.clients.items()}
    sources["contacts.sources"] = settings.contacts.sources
    for key, names in sources.items():
        for name in names:
            if name in instances and not instances[name].is_source:
                yield Fault(key, f"{name} ({instances[name].use}) is not a contact source")
    yield from _key_faults(instances)


def _key_faults(instances: Mapping[str, Instance]) -> Iterable[Fault]:
    """Yield a fault for each key of the core that is about something which the plugin does not do."""
    for name, instance in instances.items():
        for key in ("blocks", "merge"):
            if getattr(instance.settings, key) and not instance.is_source:
                yield Fault(f"plugins.{name}.{key}", f"is for contact sources, and {instance.use} is not one")
        if instance.settings.warmup and not instance.channels:
            yield Fault(f"plugins.{name}.warmup", f"is for what sends, and {instance.use} does not")
        if instance.settings.webhook_networks and not instance.takes_webhooks:
            yield Fault(f"plugins.{name}.webhook_networks", f"is for webhooks, and {instance.use} takes none")


class OpenInstances:
    """The instances whose lifespans are open."""

    def __init__(self, close_timeout: Callable[[], float]) -> None:
        """``close_timeout`` is called at each closing and returns the seconds that it may take."""
        self._close_timeout = close_timeout
        self._opened: dict[Instance, AsyncExitStack] = {}

    async def open(self, instances: Iterable[Instance]) -> None:
        """Open the lifespans of instances, one after the other.

        Raises ConfigError with the faults of all that can't be opened; those that could are closed again.
        """
        opened: list[Instance] = []
        faults: list[Fault] = []
        is_done = False
        try:
            for instance in instances:
                self._opened[instance] = AsyncExitStack()
                opened.append(instance)
                try:
                    await self._opened[instance].enter_async_context(instance.lifespan(self._close_timeout))
                except ConfigError as error:
                    faults += error.faults
            is_done = not faults
        finally:
            if not is_done:
                await self.close(reversed(opened))
        if faults:
            raise ConfigError(faults)

    async def close(self, instances: Iterable[Instance]) -> None:
        """Close the lifespans of these instances."""
        # At the same time: one after the other, several slow plugins would take several times as long.
        stacks = [self._opened.pop(one) for one in instances if one in self._opened]
        await asyncio.gather(*(one.aclose() for one in stacks))

    async def close_all(self) -> None:
        """Close every lifespan that is open."""
        await self.close([*reversed(self._opened)])
