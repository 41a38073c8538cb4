"""The composition root: builds a running gateway from a configuration."""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gatepost import preflight
from gatepost.callbacks.client import CallbackClient
from gatepost.config.settings import Settings
from gatepost.config.toml_file import convert_settings, read_settings
from gatepost.errors import ConfigError, Fault
from gatepost.gateway import Gateway
from gatepost.observe import logs, redaction
from gatepost.observe.tracing_switch import open_tracing
from gatepost.observe.trail import Trail
from gatepost.outbox import open_outbox, outbox_policy
from gatepost.outbox.inspection import check_store
from gatepost.plugin_host import discovery
from gatepost.plugin_host.instances import Instance
from gatepost.plugin_host.isolation import default_close_timeout
from gatepost.plugin_host.startup import OpenInstances, build_instances
from gatepost.reloading import Reloading


def load(path: Path) -> tuple[Settings, dict[str, Instance]]:
    """Read the configuration and build its plugins; raises ConfigError with every fault."""
    settings, instances, faults = examine(path)
    if settings is None or faults:
        raise ConfigError(faults)
    return settings, instances


def examine(
    path: Path, in_use: Mapping[str, Instance] = MappingProxyType({}), used_with: Settings | None = None
) -> tuple[Settings | None, dict[str, Instance], list[Fault]]:
    """Read the configuration and build its plugins; returns what is usable, and every fault.

    Of the instances ``in_use``, which were built from the settings ``used_with``, those stay that would be the same.
    Opens no plugin and no store. The settings are None when the file can't be read.
    """
    settings, faults = read_settings(path, discovery.settings_type)
    if settings is None:
        return None, {}, faults
    return settings, *_examine(settings, faults, in_use, used_with)


def examine_content(path: Path, content: dict[str, Any]) -> list[Fault]:
    """Return every fault of a configuration that is not written yet; ``path`` is where it will be."""
    settings, faults = convert_settings(path, content, discovery.settings_type)
    return _examine(settings, faults, MappingProxyType({}), None)[1]


def _examine(
    settings: Settings, faults: list[Fault], in_use: Mapping[str, Instance], used_with: Settings | None
) -> tuple[dict[str, Instance], list[Fault]]:
    """Build the plugins of settings in which these faults were found; returns them and all faults."""
    redaction.redact_settings(settings)
    instances, more = build_instances(settings, in_use, used_with)
    faults = [*faults, *more]
    return instances, [*faults, *preflight.find_faults(settings, {fault.key for fault in faults})]


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    instances: Mapping[str, Instance],
    known_faults: Sequence[Fault] = (),
    on_wait: Callable[[], None] | None = None,
) -> AsyncIterator[Gateway]:
    """Open the plugins and the store, and run the loops; at the end stop the loops, close the plugins, then the store.

    The store is opened after the plugins. So a start that they refuse changes nothing in it, and what is logged
    about messages found there is logged once. Raises ConfigError with the ``known_faults`` and with all faults of the
    plugins and the store, which is only examined then. ``on_wait`` is called when another process has the SQLite file,
    which is then waited for; None: that is a fault.
    """
    gateway: Gateway | None = None

    def close_timeout() -> float:
        return gateway.plugin_close_timeout() if gateway else default_close_timeout()

    async with AsyncExitStack() as stack:
        plugins = await stack.enter_async_context(AsyncExitStack())
        opened = OpenInstances(close_timeout)
        plugins.push_async_callback(opened.close_all)
        if faults := [*known_faults, *await _open_faults(opened, instances)]:
            raise ConfigError([*faults, *await _store_faults(settings)])
        tracing = open_tracing(os.environ)
        stack.push_async_callback(tracing.stopped)
        trail = Trail(settings.logs.trail, logs.resolve_format(settings.logs.format), tracing)
        stack.callback(trail.flush)
        store = settings.store.url, settings.path.parent, outbox_policy(settings)
        outbox = await stack.enter_async_context(open_outbox(*store, trail=trail, on_wait=on_wait))
        # From here on the plugins close before the store does.
        await stack.enter_async_context(plugins.pop_all())
        callback_client = await stack.enter_async_context(CallbackClient())
        gateway = Gateway(settings, instances, opened=opened, outbox=outbox, callback_client=callback_client)
        gateway.admin.reload = Reloading(gateway, examine).reload
        stack.callback(lambda: tracing.stop(close_timeout()))
        await stack.enter_async_context(gateway.run())
        yield gateway


async def _open_faults(opened: OpenInstances, instances: Mapping[str, Instance]) -> Sequence[Fault]:
    try:
        await opened.open(instances.values())
    except ConfigError as error:
        return error.faults
    return ()


async def _store_faults(settings: Settings) -> Sequence[Fault]:
    try:
        await check_store(settings.store.url, settings.path.parent)
    except ConfigError as error:
        return error.faults
    return ()
