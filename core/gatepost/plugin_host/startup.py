"""Builds the configured plugins and opens them: every fault is collected, none stops the search for the next."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from gatepost import hookspecs
from gatepost.config.settings import Instance as InstanceSettings
from gatepost.config.settings import Settings
from gatepost.errors import ConfigError, Fault
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.plugin_host import discovery
from gatepost.plugin_host.instances import Instance
from gatepost.plugin_host.isolation import patience, placed, raised

_log = logs.get(__name__)


def build_instances(settings: Settings) -> tuple[dict[str, Instance], list[Fault]]:
    """Make every configured instance, and find what can't be used. Opens nothing."""
    instances: dict[str, Instance] = {}
    faults: list[Fault] = []
    for name, own in settings.plugins.items():
        try:
            instances[name] = _build(own, settings.server.public_url)
        except ConfigError as error:
            faults += error.faults
    return instances, [*faults, *_capability_faults(settings, instances)]


def _build(settings: InstanceSettings, public_url: str) -> Instance:
    path = f"plugins.{settings.name}"
    base = public_url.rstrip("/")
    context = hookspecs.Context(
        name=settings.name,
        log=structlog.stdlib.get_logger("gatepost.plugins").bind(instance=settings.name),
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        webhook_url=f"{base}/webhooks/{settings.name}" if base else "",
    )
    try:
        plugin = discovery.load(settings.use)(settings.settings, context)
    except ConfigError as error:
        raise ConfigError(placed(error, path)) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it is, it is this plugin's fault
        _log.debug("plugin_not_made", instance=settings.name, exception=logs.trace(error))
        package = type(settings.settings).__module__.partition(".")[0]
        raise ConfigError([Fault(path, f"could not be made: {raised(error, package)}")]) from None
    return Instance(settings, plugin)


def _capability_faults(settings: Settings, instances: Mapping[str, Instance]) -> Iterable[Fault]:
    """Names that stand where another kind of plugin is needed; unknown names are found elsewhere."""
    for channel in Channel:
        for name in settings.routes.of(channel):
            if name in instances and channel not in instances[name].channels:
                yield Fault(f"routes.{channel}", f"{name} ({instances[name].use}) can't send {channel}")
    asked = {f"clients.{name}.contacts": client.contacts for name, client in settings.clients.items()}
    for key, names in {**asked, "contacts.sources": settings.contacts.sources}.items():
        for name in names:
            if name in instances and not instances[name].is_source:
                yield Fault(key, f"{name} ({instances[name].use}) knows no users")


@asynccontextmanager
async def open_instances(
    instances: Iterable[Instance], closing: Callable[[], float] = patience
) -> AsyncIterator[None]:
    """Hold the lifespans of all instances open; leave them all at once, the last one first.

    ``closing`` is asked when they are left: the seconds that this may take. Raises ConfigError with
    everything that hindered any of them; what had opened is closed again.
    """
    living: list[AsyncExitStack] = []
    try:
        faults: list[Fault] = []
        for instance in instances:
            if "lifespan" not in instance.can:
                continue
            living.append(AsyncExitStack())
            try:
                await living[-1].enter_async_context(instance.living(closing))
            except ConfigError as error:
                faults += error.faults
        if faults:
            raise ConfigError(faults)
        yield
    finally:
        # Not one after the other: several that are slow to leave would take several times as long.
        await asyncio.gather(*(one.aclose() for one in reversed(living)))
