"""A configuration that is not written yet."""

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatepost import app
from gatepost.cli.first_config.answer_text import REFERENCES, inner_hint, plain_secrets
from gatepost.config.client import Client
from gatepost.config.settings import CORE_KEYS, SECTIONS, InstanceSettings
from gatepost.config.toml_values import UnusableValue, ValueReader
from gatepost.errors import ConfigError, Fault
from gatepost.observe.leaves import KeyPath
from gatepost.plugin_host import discovery


class Draft:
    """The content of a file as TOML has it, with secrets written out until they are put into files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """Where the configuration will be."""
        self.content: dict[str, Any] = {}

    def put(self, key: tuple[str, ...], value: Any) -> None:
        """Set a key; a value in the way that is not a table is replaced."""
        table = self.content
        for name in key[:-1]:
            if not isinstance(table.get(name), dict):
                table[name] = {}
            table = table[name]
        table[key[-1]] = value

    def remove(self, key: tuple[str, ...]) -> None:
        """Remove a key that exists."""
        del self.table(key[:-1])[key[-1]]

    def table(self, key: tuple[str, ...]) -> dict[str, Any]:
        """Return the table at this path; an empty one where there is none."""
        found: Any = self.content
        for name in key:
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def has(self, key: tuple[str, ...]) -> bool:
        """Return whether a key is set."""
        return key[-1] in self.table(key[:-1])

    def faults(self, key: str = "") -> list[Fault]:
        """Return every fault, or those of a key or table and of what is in it, in the words of the gateway.

        A value that says where it is (``env:NAME``) may be there only when the gateway runs, so it has none here.
        """
        later = {key for key, _ in self.unresolved()}
        return [
            fault
            for fault in app.examine_content(self.path, self.content)
            if fault.key not in later and (not key or _is_inside(fault.key, key))
        ]

    def unresolved(self, key: str = "") -> list[tuple[str, str]]:
        """Return each key, or each inside ``key``, whose value can't be found where it should be, and why."""
        values = ValueReader(self.path.parent.resolve(), os.environ)
        found = []
        for path, text in _texts(self.content):
            name = ".".join(part for part in path if isinstance(part, str))
            if text.startswith(REFERENCES) and (not key or _is_inside(name, key)):
                try:
                    values.resolve(text)
                except UnusableValue as error:
                    found.append((name, str(error)))
        return found

    def hint(self, key: tuple[str, ...]) -> Any:
        """Return the type of a key; Any where that is not known."""
        section, *rest = key
        if section == "routes":
            return tuple[str, ...] if len(rest) == 1 else Any
        if section in SECTIONS:
            return inner_hint(SECTIONS[section], tuple(rest))
        if section == "clients" and len(rest) > 1:
            return inner_hint(Client, tuple(rest[1:]))
        if section == "plugins" and len(rest) > 1:
            return self._plugin_hint(rest[0], tuple(rest[1:]))
        return Any

    def _plugin_hint(self, name: str, key: tuple[str, ...]) -> Any:
        if key[0] in CORE_KEYS:
            return inner_hint(InstanceSettings, key)
        try:
            return inner_hint(discovery.settings_type(str(self.table(("plugins", name)).get("use"))), key)
        except ConfigError:
            return Any

    def plain_secrets(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield each secret that is written out, with its path. The URL of a store is one only with a password."""
        for section, table in self.content.items():
            inner = table if isinstance(table, dict) else {}
            for name, value in inner.items():
                if section in {"clients", "plugins"}:
                    for key, own in value.items() if isinstance(value, dict) else ():
                        path = (section, name, key)
                        yield from plain_secrets(own, self.hint(path), path)
                elif (section, name) != ("store", "url") or "@" in str(value):
                    yield from plain_secrets(value, self.hint((section, name)), (section, name))

    def with_values(self, values: dict[KeyPath, str]) -> dict[str, Any]:
        """Return a copy of the content in which these paths have these values."""
        content = copy.deepcopy(self.content)
        for path, value in values.items():
            inner: Any = content
            for part in path[:-1]:
                inner = inner[part]
            inner[path[-1]] = value
        return content


def _is_inside(name: str, key: str) -> bool:
    return name == key or name.startswith((f"{key}.", f"{key}["))


def _texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, (*path, name))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _texts(inner, (*path, position))
