"""Reads gatepost.toml and the environment; no other module of the core reads either.

``read_settings`` converts the file key by key and goes on after a fault, so that an operator sees every fault at once.
Any string may be ``env:NAME`` or ``file:/path`` instead of the value itself. No message quotes a value, except the
name of a plugin instance: the value may be a secret in the wrong place.
"""

import os
import re
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec

from gatepost.config.settings import (
    CORE_KEYS,
    SECTIONS,
    Client,
    Contacts,
    Delivery,
    Instance,
    Logs,
    Routes,
    Server,
    Settings,
    Store,
)
from gatepost.config.toml_table import Table, choice, nearest
from gatepost.errors import ConfigError, Fault

LEAST_RATE = 1 / 86_400
"""Sends a second: one a day, which is as long as a message is tried at all."""

_QUOTABLE = re.compile(r"(env:)?[A-Za-z0-9_-]{1,64}", re.ASCII)
"""What stands in a list of instances and may be shown."""


def locate(given: Path | None) -> Path:
    """The configuration file: the one given, else ``GATEPOST_CONFIG``, else ``gatepost.toml`` here."""
    return given or Path(os.environ.get("GATEPOST_CONFIG") or "gatepost.toml")


def read_settings(
    path: Path, settings_type: Callable[[str], type[msgspec.Struct]]
) -> tuple[Settings | None, list[Fault]]:
    """Read the file; returns what could be made of it and everything that is wrong with it.

    ``settings_type`` gives the type of a plugin kind's settings and raises ConfigError for a kind that is
    not installed. With faults the Settings hold what was usable, good enough to look for further faults
    and for nothing else; they are None when the file could not be read at all.
    """
    try:
        content = _content(path)
    except ConfigError as error:
        return None, list(error.faults)
    root = Table(content, base=path.parent.resolve(), environment=os.environ)
    misspelled = root.refuse_unknown(known=(*SECTIONS, "clients", "plugins"))
    clients = {
        name: client
        for name, table in root.tables("clients")
        if (client := table.convert(Client, f"clients.{name}", instead={"authorization": ()})) is not None
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
        routes=root.struct("routes", Routes),
        logs=root.struct("logs", Logs),
        plugins=plugins,
    )
    return settings, [*root.faults, *_names(settings, root, misspelled)]


def plugin_uses(path: Path) -> dict[str, str]:
    """What each plugin table names as its kind, by the table's name, whatever else is wrong with the file.

    Raises ConfigError when it can't be read at all.
    """
    named = _tables(path, "plugins").items()
    return {name: str(table["use"]) for name, table in named if isinstance(table, dict) and "use" in table}


def client_names(path: Path) -> list[str]:
    """The names of the clients' tables, whatever else is wrong with the file; raises as ``plugin_uses`` does."""
    return list(_tables(path, "clients"))


def log_settings(path: Path) -> Logs:
    """What can be made of the table ``logs``, whatever is wrong with it or with the rest of the file."""
    try:
        content = _content(path)
    except ConfigError:
        return Logs()
    return Table(content, base=path.parent.resolve(), environment=os.environ).struct("logs", Logs)


def _tables(path: Path, group: str) -> dict[str, Any]:
    found = _content(path).get(group)
    return found if isinstance(found, dict) else {}


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        problem = f"{path}: can't be read ({error.strerror}); name another with --config"
    except UnicodeDecodeError:
        problem = f"{path}: is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem = f"{path}: is not TOML: {error}"
    raise ConfigError([Fault("", problem)])


def _instance(
    name: str, table: Table, settings_type: Callable[[str], type[msgspec.Struct]]
) -> Instance | None:
    path = f"plugins.{name}"
    core, own = table.split(CORE_KEYS)
    # The name is a word of a URL (/webhooks/NAME) and of metrics.
    if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        table.fault(path, "a plugin's name is made of a-z, A-Z, 0-9, - and _")
    use = core.text("use", f"{path}.use")
    if use is None:
        return None
    try:
        kind = settings_type(use)
    except ConfigError as error:
        for fault in error.faults:
            table.fault(f"{path}.use", fault.problem)
        return None
    settings = own.convert(kind, path)
    instance = core.convert(Instance, path, instead={}, name=name)
    if instance is not None and 0 < instance.per_second < LEAST_RATE:
        table.fault(f"{path}.per_second", "must be 0 (unlimited) or at least one a day, which is 0.000012")
    if settings is None or instance is None:
        return None
    return msgspec.structs.replace(instance, settings=settings)


def _names(settings: Settings, root: Table, misspelled: Collection[str]) -> list[Fault]:
    """Names that lead to no table; whatever else does not go together is for ``preflight``.

    ``misspelled``: tables that stand there under another name, so that nothing can be said of what is in them.
    """
    faults: list[Fault] = []
    unreadable = {*misspelled, *(fault.key for fault in root.faults)}
    if not root.names("clients") and "clients" not in unreadable:
        faults.append(Fault("clients", "at least one client is needed: a table such as [clients.smartico]"))
    lists = [
        *((("clients", name, "contacts"), client.contacts) for name, client in settings.clients.items()),
        (("contacts", "sources"), settings.contacts.sources),
        (("routes", "email"), settings.routes.email),
        (("routes", "sms"), settings.routes.sms),
    ]
    plugins = root.names("plugins")
    for path, names in lists:
        key, written = ".".join(path), root.written(*path)
        for position, name in enumerate(names):
            shown = _quoted(written, position)
            if name not in plugins and "plugins" not in unreadable:
                offer = choice(nearest(name, plugins), plugins)
                faults.append(Fault(key, f"{shown} is no [plugins.NAME]; {offer}"))
            if names.index(name) < position:
                faults.append(Fault(key, f"{shown} stands here twice"))
    return faults


def _quoted(written: Any, position: int) -> str:
    """A name as the file has it, unless it can't be one: then it may be a secret in the wrong place."""
    entry = written[position] if isinstance(written, list) else None
    return entry if isinstance(entry, str) and _QUOTABLE.fullmatch(entry) else f"name {position + 1}"
