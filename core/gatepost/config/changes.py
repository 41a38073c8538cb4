"""The differences between two configurations, key by key; a secret is never shown."""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

import msgspec

from gatepost.config.routes import Route, Routes
from gatepost.config.settings import InstanceSettings, Settings
from gatepost.errors import Fault
from gatepost.model import Channel, Secret

NOT_SET = "(not set)"
HIDDEN = "(secret)"
OTHER_HIDDEN = "(another secret)"

_FIXED = ("server.host", "server.port", "server.admin_socket", "store.url", "console.", "logs.")
"""What only a restart changes: keys, and the beginnings of keys."""


class Change(msgspec.Struct, frozen=True):
    """One key whose value differs."""

    key: str
    """Its path in the file; a rule of a route is named by its name, such as ``routes.sms[uk-codes].use``."""
    old: str
    """What it was, as text for people."""
    new: str


def find_changes(old: Settings, new: Settings) -> list[Change]:
    """Return each key whose value differs, in the order of the file's sections."""
    before, after = dict(_values(old, "")), dict(_values(new, ""))
    return [
        _change(key, before.get(key), after.get(key))
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key)
    ]


def fixed_faults(old: Settings, new: Settings) -> list[Fault]:
    """Return a fault for each changed key that a running gateway can't take over."""
    faults = [
        Fault(one.key, "can't change while the gateway runs: restart it, or change the key back")
        for one in find_changes(old, new)
        if one.key.startswith(_FIXED)
    ]
    if (old.server.certificate is None) != (new.server.certificate is None):
        text = (
            "the listener can't begin or end TLS while the gateway runs: restart it, or change the key back"
        )
        faults.append(Fault("server.certificate", text))
    return faults


def _values(value: object, key: str) -> Iterator[tuple[str, object]]:
    """Yield every single value below a key, with its own key."""
    if isinstance(value, Routes):
        for channel in Channel:
            yield from _rules(value.of(channel), value, channel)
    elif isinstance(value, InstanceSettings):
        own = msgspec.structs.asdict(value)
        yield from _table({name: own[name] for name in own if name not in {"name", "settings"}}, key)
        yield from _values(value.settings, key)
    elif isinstance(value, msgspec.Struct):
        yield from _table(msgspec.structs.asdict(value), key)
    elif isinstance(value, Mapping):
        yield from _table(value, key)
    elif not (key == "path" and isinstance(value, Path)):
        yield key, value


def _table(table: Mapping[str, object], key: str) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        yield from _values(value, f"{key}.{name}" if key else name)


def _rules(rules: tuple[Route, ...], routes: Routes, channel: Channel) -> Iterator[tuple[str, object]]:
    key = f"routes.{channel}"
    if rules and rules == routes.listed(channel, rules[0].use):
        yield key, rules[0].use
        return
    # Their order matters: the first rule that fits takes the message.
    yield key, tuple(rule.name for rule in rules)
    for rule in rules:
        yield from _values(rule, f"{key}[{rule.name}]")


def _change(key: str, old: object, new: object) -> Change:
    before, after = _text(old), _text(new)
    if before == after:
        after = after.replace(HIDDEN, OTHER_HIDDEN)
    return Change(key, before, after)


def _text(value: object) -> str:
    """Return a value as people know it from the file."""
    if value is None:
        return NOT_SET
    if isinstance(value, Secret):
        return HIDDEN if value else '""'
    if isinstance(value, tuple | list | set | frozenset):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value.value if isinstance(value, Enum) else value), ensure_ascii=False)
