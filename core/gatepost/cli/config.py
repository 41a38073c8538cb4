"""``gatepost config``: prints a gatepost.toml with the settings of every installed plugin."""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import msgspec
import rich_click as click

from gatepost.cli import reload
from gatepost.cli.common import config_option
from gatepost.cli.setting_types import choices, leaf_types, meta_value
from gatepost.config.client import Client
from gatepost.config.networks import Network
from gatepost.config.routes import Route
from gatepost.config.settings import CORE_KEYS, SECTIONS, InstanceSettings
from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.plugin_host import discovery

LINE_WIDTH = 110
"""Columns of a line. Only a long value makes a longer one."""

COMMENT_COLUMN = 46
"""The column in which the comment of a key begins."""

_HEAD = """\
# The configuration of Gatepost: every key with its default.
#
# A line that begins with # and no space shows a default: remove the # to change it.
# Any text may be env:NAME or file:/path instead of the value itself; keep secrets there.
# Relative paths start at this file's folder; times are in seconds. `gatepost check` finds every fault.
"""


class Key(NamedTuple):
    """One key of a table."""

    name: str
    description: str
    required: bool
    value: str
    """TOML: the default, or an example of the right type where there is none."""


@click.command()
@click.option("--diff", is_flag=True, help="Show what `gatepost reload` would change in the running gateway.")
@config_option
def command(diff: bool, config: Path | None) -> None:
    """Print a complete gatepost.toml with comments and the settings of every installed plugin.

    gatepost config > gatepost.toml

    With --diff print instead how the file differs from what the running gateway uses. Secrets are never shown. The exit
    code is 1 where a reload would be refused.
    """
    if diff:
        _show_difference(config)
        return
    if config is not None:
        raise click.UsageError("--config is for --diff: without it no file is read")
    click.echo("\n".join(lines()), nl=False)


def _show_difference(config: Path | None) -> None:
    answer = reload.ask(config, dry=True)
    if answer.problems:
        sys.exit(1)
    changed = reload.count_text(answer.changes)
    click.echo(f"{changed}; `gatepost reload` takes that over." if answer.changes else "Nothing has changed.")
    reload.show_changes(answer)


def lines() -> Iterator[str]:
    """Yield the lines of the whole file."""
    yield _HEAD
    for section, struct_type in SECTIONS.items():
        if section == "contacts":
            yield from _clients()
        yield comment((struct_type.__doc__ or "").partition("\n")[0])
        yield from _table(section, struct_type)
        if section == "routes":
            yield from _rules()
    yield from _plugins()


def _clients() -> Iterator[str]:
    yield comment("One table for each client, such as a brand's Smartico account. Choose the name freely.")
    yield from _table("clients.smartico", Client)


_RULE_EXAMPLES: Mapping[str, str] = {
    "clients": '["smartico"]',
    "countries": '["GB", "IE"]',
    "prefixes": '["+4477"]',
    "domains": '["gmail.com", "*.example"]',
    "senders": '["AmazingCode"]',
    "urgent": "true",
    "use": '["sms-eu", "sms-us"]',
    "split": "{ sms-eu = 70, sms-us = 30 }",
    "balance": '"receipts"',
    "per_day": "20000",
    "refuse": '"no messages to this country"',
    "next_after": "120",
}
"""What the rule in the printed file has for each key whose default says nothing."""


def _rules() -> Iterator[str]:
    yield comment(
        "Instead of a list, a channel may have rules. The first rule whose conditions all hold is the message's "
        "route. Each condition is optional; of each list one entry must fit."
    )
    yield "# [[routes.sms]]"
    for key in keys(Route, "routes.sms"):
        example = key._replace(value=_RULE_EXAMPLES.get(key.name, key.value))
        yield line(example, "# ")
    yield ""


def _plugins() -> Iterator[str]:
    yield comment(
        "One table for each plugin instance. Choose its name freely and use it in routes, in contacts.sources and "
        "in /webhooks/NAME. Every plugin also has these keys:"
    )
    for key in keys(InstanceSettings):
        if key.name in CORE_KEYS and key.name != "use":
            yield comment(f"{key.name} = {key.value}: {key.description}", indent="#     ")
    yield ""
    for use in sorted(discovery.installed()):
        try:
            struct_type = discovery.settings_type(use)
        except ConfigError as error:
            yield from (f"# The plugin {use} can't be used: {error}", "")
            continue
        yield from _table(f"plugins.{use}", struct_type, use=use)


def _table(path: str, struct_type: type[msgspec.Struct], *, use: str = "") -> Iterator[str]:
    """Yield one table; that of a plugin is commented out, because few gateways use every plugin."""
    mark = "#" if use else ""
    yield f"{mark}[{path}]"
    if use:
        yield f'{mark}use = "{use}"'
    for key in keys(struct_type, path):
        yield line(key, mark if key.required else "#")
    yield ""


def line(key: Key, mark: str) -> str:
    """Return a key with its comment beside it, which goes on in the lines below."""
    setting = f"{mark}{key.name} = {key.value}"
    first, *rest = textwrap.wrap(key.description, LINE_WIDTH - COMMENT_COLUMN - 2) or [""]
    below = "".join(f"\n{' ' * COMMENT_COLUMN}# {line}" for line in rest)
    if len(setting) < COMMENT_COLUMN:
        return f"{setting:{COMMENT_COLUMN}}# {first}{below}"
    return f"{setting}\n{' ' * COMMENT_COLUMN}# {first}{below}"


def comment(text: str, indent: str = "# ") -> str:
    return textwrap.fill(
        text, LINE_WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def keys(struct_type: type[msgspec.Struct], path: str = "") -> list[Key]:
    """Return the keys of a table, in their order."""
    hints = get_type_hints(struct_type, include_extras=True)
    return [
        _key(field, hints[field.name], f"{path}.{field.encode_name}")
        for field in msgspec.structs.fields(struct_type)
    ]


def _key(field: msgspec.structs.FieldInfo, hint: Any, path: str) -> Key:
    notes = ["required"] if field.required else []
    if words := choices(hint):
        notes.append(", ".join(words))
    default = _default(field)
    if default is None or default == Secret("") or isinstance(default, msgspec.Struct):
        if not field.required:
            notes.append("not set")
        # A key without a default is shown with an example.
        default = meta_value(hint, "examples")
    description = " ".join(
        filter(None, [meta_value(hint, "description"), f"({'; '.join(notes)})" if notes else ""])
    )
    return Key(field.encode_name, description, field.required, _toml(default, hint, path))


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default


def _toml(value: Any, hint: Any, path: str) -> str:
    """Return a value as TOML; an example of the right type when there is none."""
    if isinstance(value, Secret) and value:
        # A default is in the source code, so it is no secret.
        value = value.reveal()
    if value is None or isinstance(value, Secret):
        return _placeholder(hint, path)
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple | list | frozenset):
        return f"[{', '.join(_toml(item, hint, path) for item in value)}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{name} = {_toml(item, hint, path)}" for name, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return (
        f"{value:g}" if isinstance(value, float) and value < 1e15 and value != int(value) else str(int(value))
    )


def _placeholder(hint: Any, path: str) -> str:
    found = leaf_types(hint)
    name = path.rpartition(".")[2]
    if Secret in found:
        names = [word for word in path.split(".") if word not in {"plugins", "clients"}]
        text = json.dumps("env:" + "_".join(names).upper().replace("-", "_"))
    elif tables := [leaf for leaf in found if isinstance(leaf, type) and issubclass(leaf, msgspec.Struct)]:
        required = [key for key in keys(tables[0], path) if key.required]
        text = f"{{ {', '.join(f'{key.name} = {key.value}' for key in required)} }}"
    elif words := choices(hint):
        text = words[0]
    elif bool in found:
        text = "false"
    elif int in found or float in found:
        text = "1"
    elif Path in found:
        text = json.dumps(f"{name}.pem" if name in {"certificate", "key", "ca_file"} else f"./{name}")
    elif Network in found:
        text = '"203.0.113.0/24"'
    else:
        text = '"…"'
    return f"[{text}]" if tuple in found or list in found else text
