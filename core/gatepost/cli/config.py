"""``gatepost config``."""

import json
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
import rich_click as click

from gatepost.config.networks import Network
from gatepost.config.settings import SECTIONS, Client, Instance
from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.plugin_host import discovery

WIDTH = 110
"""Columns of a line; only a value that is longer makes a longer one."""

COMMENTS = 46
"""The column in which a key's comment begins."""

_HEAD = """\
# The configuration of Gatepost: every key that there is, with its default.
#
# A line that begins with # and no space shows what holds anyway: take the # away to change it.
# Any text may be env:NAME or file:/path instead of the value itself; keep secrets there.
# Relative paths are relative to this file; times are seconds. `gatepost check` names every fault.
"""


class Key(NamedTuple):
    """One key of a table."""

    name: str
    description: str
    required: bool
    value: str
    """TOML: the default, or something of the right kind where there is none."""


@click.command()
def command() -> None:
    """Print a complete commented gatepost.toml, with the settings of every installed plugin.

    gatepost config > gatepost.toml
    """
    click.echo("\n".join(lines()), nl=False)


def lines() -> Iterator[str]:
    """The whole file."""
    yield _HEAD
    for section, kind in SECTIONS.items():
        if section == "contacts":
            yield from _clients()
        yield _comment((kind.__doc__ or "").partition("\n")[0])
        yield from _table(section, kind)
    yield from _plugins()


def _clients() -> Iterator[str]:
    yield _comment("One table a caller: several brands, several tables. The name is yours.")
    yield from _table("clients.smartico", Client)


def _plugins() -> Iterator[str]:
    yield _comment(
        "One table an instance: its name is yours, and stands in routes, in contacts.sources and in "
        "/webhooks/NAME. Every plugin also takes these keys; they matter to those that send:"
    )
    for key in keys(Instance):
        if key.name in {"concurrency", "per_second", "timeout"}:
            yield _comment(f"{key.name} = {key.value}: {key.description}", indent="#     ")
    yield ""
    for use in sorted(discovery.installed()):
        try:
            kind = discovery.settings_type(use)
        except ConfigError as error:
            yield from (f"# The plugin {use} can't be used: {error}", "")
            continue
        yield from _table(f"plugins.{use}", kind, use=use)


def _table(path: str, kind: type[msgspec.Struct], *, use: str = "") -> Iterator[str]:
    """One table; a plugin's is commented out as a whole, because not everybody wants every plugin."""
    mark = "#" if use else ""
    yield f"{mark}[{path}]"
    if use:
        yield f'{mark}use = "{use}"'
    for key in keys(kind, path):
        yield _line(key, mark if key.required else "#")
    yield ""


def _line(key: Key, mark: str) -> str:
    """A key with its comment beside it, and below it where there is much to say."""
    setting = f"{mark}{key.name} = {key.value}"
    first, *rest = textwrap.wrap(key.description, WIDTH - COMMENTS - 2) or [""]
    below = "".join(f"\n{' ' * COMMENTS}# {line}" for line in rest)
    if len(setting) < COMMENTS:
        return f"{setting:{COMMENTS}}# {first}{below}"
    return f"{setting}\n{' ' * COMMENTS}# {first}{below}"


def _comment(text: str, indent: str = "# ") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def keys(kind: type[msgspec.Struct], path: str = "") -> list[Key]:
    """The keys of a table, in their order."""
    hints = get_type_hints(kind, include_extras=True)
    return [
        _key(field, hints[field.name], f"{path}.{field.encode_name}")
        for field in msgspec.structs.fields(kind)
    ]


def _key(field: msgspec.structs.FieldInfo, hint: Any, path: str) -> Key:
    notes = ["required"] if field.required else []
    if choices := _choices(hint):
        notes.append(", ".join(choices))
    default = _default(field)
    if default is None or default == Secret(""):
        if not field.required:
            notes.append("not set")
        # Of a key without a default an example is shown.
        default = _of_meta(hint, "examples")
    description = " ".join(
        filter(None, [_of_meta(hint, "description"), f"({'; '.join(notes)})" if notes else ""])
    )
    return Key(field.encode_name, description, field.required, _toml(default, hint, path))


def _of_meta(hint: Any, name: Literal["description", "examples"]) -> Any:
    """What stands in the type's Meta, an example's value itself; None where nothing does."""
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    found = next((value for meta in reversed(metas) if (value := getattr(meta, name))), None)
    return found[0] if found and name == "examples" else found


def _choices(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [json.dumps(value) for value in get_args(hint)]
    return [choice for part in _alternatives(hint) for choice in _choices(part)]


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """What a type is made of: the one that is annotated, or those of a union; nothing else."""
    if hasattr(hint, "__metadata__"):
        return (hint.__origin__,)
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else ()


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default


def _toml(value: Any, hint: Any, path: str) -> str:
    """A value as TOML; where there is none, something of the right kind."""
    if isinstance(value, Secret) and value:
        # A default is in the source for everybody to see.
        value = value.reveal()
    if value is None or isinstance(value, Secret):
        return _placeholder(hint, path)
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple | list | frozenset):
        return f"[{', '.join(_toml(item, hint, path) for item in value)}]"
    if isinstance(value, dict):
        return "{}"
    return (
        f"{value:g}" if isinstance(value, float) and value < 1e15 and value != int(value) else str(int(value))
    )


def _placeholder(hint: Any, path: str) -> str:
    kinds = _leaves(hint)
    name = path.rpartition(".")[2]
    if Secret in kinds:
        words = [word for word in path.split(".") if word not in {"plugins", "clients"}]
        text = json.dumps("env:" + "_".join(words).upper().replace("-", "_"))
    elif choices := _choices(hint):
        text = choices[0]
    elif bool in kinds:
        text = "false"
    elif int in kinds or float in kinds:
        text = "1"
    elif Path in kinds:
        text = json.dumps(f"{name}.pem" if name in {"certificate", "key", "ca_file"} else f"./{name}")
    elif Network in kinds:
        text = '"203.0.113.0/24"'
    else:
        text = '"…"'
    return f"[{text}]" if tuple in kinds or list in kinds else text


def _leaves(hint: Any) -> set[Any]:
    """All types that take part in a type."""
    if hasattr(hint, "__metadata__"):
        return _leaves(hint.__origin__)
    inner = {leaf for part in get_args(hint) if part is not Ellipsis for leaf in _leaves(part)}
    return inner | {get_origin(hint) or hint} if get_origin(hint) is not Literal else {Literal}
