"""The reader of the settings: from gatepost.toml and the environment.

In a running gateway no other module reads either.

``read_settings`` converts the file key by key and continues after a fault, so that an operator sees every fault at
once. Any text may be ``env:NAME`` or ``file:/path`` instead of the value itself. No fault quotes a value, except the
name of a plugin instance: the value may be a secret in the wrong place.
"""

import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatepost.config.client import Client
from gatepost.config.settings import (
    CORE_KEYS,
    SECTIONS,
    Alerts,
    Console,
    Contacts,
    Delivery,
    InstanceSettings,
    Logs,
    Server,
    Settings,
    Store,
)
from gatepost.config.toml_routes import explain_both_forms, read_routes
from gatepost.config.toml_table import Table, closest_name, suggestion
from gatepost.errors import ConfigError, Fault
from gatepost.model import Channel

MIN_PER_SECOND = 1 / 86_400
"""The lowest rate of sends: one a day, which is as long as a message is tried by default."""

_QUOTABLE = re.compile(r"(env:)?[A-Za-z0-9_-]{1,64}", re.ASCII)
"""An entry in a list of instances that a fault may quote."""

_SettingsTypes = Callable[[str], type[msgspec.Struct]]


def config_path(option: Path | None) -> Path:
    """Return the configuration file: ``option``, else ``GATEPOST_CONFIG``, else ``gatepost.toml`` in this folder."""
    return option or Path(os.environ.get("GATEPOST_CONFIG") or "gatepost.toml")


def read_settings(path: Path, settings_type: _SettingsTypes) -> tuple[Settings | None, list[Fault]]:
    """Read the file; returns the settings and every fault.

    ``settings_type`` returns the type of a plugin's settings and raises ConfigError for one that is not
    installed. With faults the settings have everything that was usable, and serve only to look for further
    faults. They are None when the file could not be read.
    """
    try:
        content = _load_toml(path)
    except ConfigError as error:
        return None, list(error.faults)
    return convert_settings(path, content, settings_type)


def convert_settings(
    path: Path, content: dict[str, Any], settings_type: _SettingsTypes
) -> tuple[Settings, list[Fault]]:
    """Return the settings of a file with this content, and every fault, as ``read_settings`` does."""
    root = _root(path, content)
    misspelled = root.refuse_unknown(known=(*SECTIONS, "clients", "plugins"))
    clients = {
        name: client
        for name, table in root.tables("clients")
        if (client := table.convert(Client, f"clients.{name}", fallbacks={"authorization": ()})) is not None
    }
    plugins = {
        name: instance
        for name, table in root.tables("plugins")
        if (instance := _instance(name, table, settings_type)) is not None
    }
    settings = Settings(
        path=path,
        server=root.struct("server", Server),
        store=root.struct("store", Store),
        clients=clients,
        contacts=root.struct("contacts", Contacts),
        delivery=root.struct("delivery", Delivery),
        routes=read_routes(root),
        logs=root.struct("logs", Logs),
        console=root.struct("console", Console),
        alerts=root.struct("alerts", Alerts),
        plugins=plugins,
    )
    return settings, [*root.faults, *_name_faults(settings, root, misspelled)]


def plugin_uses(path: Path) -> dict[str, str]:
    """Return the `use` of each plugin table by the table's name, whatever else is wrong with the file.

    Raises ConfigError when the file can't be read.
    """
    tables = _tables(path, "plugins").items()
    return {name: str(table["use"]) for name, table in tables if isinstance(table, dict) and "use" in table}


def environment_names(path: Path) -> list[str]:
    """Return the environment variables that the file names, each once; raises ConfigError as ``plugin_uses`` does."""
    return sorted({text.removeprefix("env:") for text in _texts(_load_toml(path)) if text.startswith("env:")})


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def log_settings(path: Path) -> Logs:
    """Return the settings of the log, whatever else is wrong with the file: defaults for what is unusable."""
    try:
        content = _load_toml(path)
    except ConfigError:
        return Logs()
    return _root(path, content).struct("logs", Logs)


def _root(path: Path, content: dict[str, Any]) -> Table:
    return Table.root(content, base=path.parent.resolve(), environment=os.environ)


def _tables(path: Path, section: str) -> dict[str, Any]:
    found = _load_toml(path).get(section)
    return found if isinstance(found, dict) else {}


def _load_toml(path: Path) -> dict[str, Any]:
    text = ""
    try:
        text = path.read_text("utf-8")
        return tomllib.loads(text)
    except OSError as error:
        problem = f"{path}: can't be read ({error.strerror}); name another with --config"
    except UnicodeDecodeError:
        problem = f"{path}: is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem = f"{path}: is not TOML: {explain_both_forms(text, error)}{error}"
    raise ConfigError([Fault("", problem)])


def _instance(name: str, table: Table, settings_type: _SettingsTypes) -> InstanceSettings | None:
    path = f"plugins.{name}"
    core, own = table.split(CORE_KEYS)
    # The name is a part of a URL (/webhooks/NAME) and a label of metrics.
    if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        table.add_fault(path, "a plugin's name may have only a-z, A-Z, 0-9, - and _")
    use = core.text("use", f"{path}.use")
    if use is None:
        return None
    try:
        own_type = settings_type(use)
    except ConfigError as error:
        for fault in error.faults:
            table.add_fault(f"{path}.use", fault.problem)
        return None
    settings = own.convert(own_type, path)
    instance = core.convert(InstanceSettings, path, fallbacks={}, name=name)
    if instance is not None and 0 < instance.per_second < MIN_PER_SECOND:
        table.add_fault(f"{path}.per_second", "must be 0 (unlimited) or at least 0.000012 (one a day)")
    if settings is None or instance is None:
        return None
    return msgspec.structs.replace(instance, settings=settings)


def _name_faults(settings: Settings, root: Table, misspelled: Collection[str]) -> Iterator[Fault]:
    """Yield a fault for each name that leads to no table. All other contradictions are found by ``preflight``.

    ``misspelled`` are tables that the file has under a misspelled name, so that their content is unknown.
    """
    unreadable = {*misspelled, *(fault.key for fault in root.faults)}
    if not root.names("clients") and "clients" not in unreadable:
        yield Fault("clients", "at least one client is needed: a table such as [clients.smartico]")
    plugins, clients = root.names("plugins"), root.names("clients")
    for key, names, raw in _instance_lists(settings, root):
        if "plugins" not in unreadable:
            yield from _unknown_names(key, "plugins", names, plugins, raw)
        for position, name in enumerate(names):
            if names.index(name) < position:
                yield Fault(key, f"{_quotable(raw, position)} is listed twice")
    for key, names, raw in _client_lists(settings, root):
        if "clients" not in unreadable:
            yield from _unknown_names(key, "clients", names, clients, raw)


def _unknown_names(
    key: str, section: str, names: Sequence[str], known: Collection[str], raw: Any
) -> Iterator[Fault]:
    for position, name in enumerate(names):
        if name not in known:
            advice = suggestion(closest_name(name, known), known)
            yield Fault(key, f"{_quotable(raw, position)} is not a [{section}.NAME] table; {advice}")


def _client_lists(settings: Settings, root: Table) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield the clients of each rule in the same way as ``_instance_lists``."""
    for channel in Channel:
        for position, route in enumerate(settings.routes.of(channel)):
            key = settings.routes.key(channel, position, "clients")
            yield key, route.clients, root.raw_value("routes", channel, position, "clients")


def _instance_lists(settings: Settings, root: Table) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield the key of every list of plugin instances, its names, and its value in the file."""
    for client, table in settings.clients.items():
        yield f"clients.{client}.contacts", table.contacts, root.raw_value("clients", client, "contacts")
    yield "contacts.sources", settings.contacts.sources, root.raw_value("contacts", "sources")
    for channel in Channel:
        for position, route in enumerate(settings.routes.of(channel)):
            which = "split" if route.split else "use"
            listed = root.raw_value("routes", channel)
            raw = root.raw_value("routes", channel, position, which) or listed
            yield settings.routes.key(channel, position, which), route.instances, raw


def _quotable(raw: Any, position: int) -> str:
    """Return an entry of a list as the file has it, or its number when it may be a secret in the wrong place."""
    entry = list(raw)[position] if isinstance(raw, list | dict) else None
    return entry if isinstance(entry, str) and _QUOTABLE.fullmatch(entry) else f"entry {position + 1}"
