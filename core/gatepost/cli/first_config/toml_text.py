"""The text of a first gatepost.toml: what differs from the defaults, in the order of `gatepost config`."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_type_hints

import msgspec

from gatepost.cli.config import Key, comment, line
from gatepost.cli.setting_types import meta_value
from gatepost.config.client import Client
from gatepost.config.settings import CORE_KEYS, SECTIONS, InstanceSettings
from gatepost.model import Secret
from gatepost.plugin_host import discovery

_HEAD = """\
# The configuration of Gatepost. It has only what differs from the defaults: `gatepost config` prints every
# other key, its default and what it means.
#
# Any text may be env:NAME or file:/path instead of the value itself; keep secrets there.
# Relative paths start at this file's folder. `gatepost check` finds every fault.
"""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def render(content: Mapping[str, Any]) -> str:
    """Return the file with this content, which has no fault."""
    return "\n".join([_HEAD, *_tables(content)])


def _tables(content: Mapping[str, Any]) -> Iterator[str]:
    for section, struct_type in SECTIONS.items():
        if section == "contacts":
            for name, table in content.get("clients", {}).items():
                yield from _table(("clients", name), _lines(table, Client))
        note = (struct_type.__doc__ or "").partition("\n")[0]
        yield from _table((section,), _lines(content.get(section, {}), struct_type), note)
    for name, table in content.get("plugins", {}).items():
        core = {key: value for key, value in table.items() if key in CORE_KEYS}
        own = {key: value for key, value in table.items() if key not in CORE_KEYS}
        lines = [*_lines(core, InstanceSettings), *_lines(own, discovery.settings_type(table["use"]))]
        yield from _table(("plugins", name), lines)


def _table(path: tuple[str, ...], lines: Sequence[str], note: str = "") -> Iterator[str]:
    """Yield the lines of one table; none where all of its values are defaults."""
    if lines:
        yield from [comment(note)] if note else []
        yield f"[{'.'.join(map(_key, path))}]"
        yield from lines
        yield ""


def _lines(table: Mapping[str, Any], struct_type: type[msgspec.Struct]) -> list[str]:
    return [
        line(Key(name, description, required=False, value=toml(table[name])), "")
        if description
        else f"{name} = {toml(table[name])}"
        for name, description in _keys(struct_type, table)
    ]


def _keys(struct_type: type[msgspec.Struct], table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key of the table whose value is not its default, and what it is, in the order of the type."""
    hints = get_type_hints(struct_type, include_extras=True)
    for field in msgspec.structs.fields(struct_type):
        name = field.encode_name
        if name in table and not _is_default(table[name], field.default):
            yield name, meta_value(hints[field.name], "description") or ""


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(default, Secret):
        return bool(value == default.reveal())
    return bool((tuple(value) if isinstance(value, list) else value) == default)


def toml(value: Any) -> str:
    """Return a value as TOML, in one line."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(name)} = {toml(inner)}" for name, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return repr(value)
    # JSON leaves a DEL as it is, which TOML forbids.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else toml(name)
