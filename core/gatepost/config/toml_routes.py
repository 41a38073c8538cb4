"""The reader of ``[routes]``: for each channel a list of plugin instances, or rules."""

import re

import msgspec

from gatepost.config.routes import Route, Routes, rule_key
from gatepost.config.toml_table import Table
from gatepost.model import Channel

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""The name of a rule, which is a label of metrics and an option of commands."""

_NOT_EMPTY = ("clients", "countries", "prefixes", "domains", "senders", "use", "split", "refuse")
"""The keys of a rule that say nothing when they are empty."""

_TWO_FORMS = re.compile(
    r"^\s*\[\[\s*routes\s*\.\s*(?P<channel>email|sms)\s*\]\]", re.ASCII | re.IGNORECASE | re.MULTILINE
)


def read_routes(root: Table) -> Routes:
    """Read the routes, and add their faults; a rule with a fault stays at its position, with defaults."""
    table = root.table("routes")
    table.refuse_unknown([channel.value for channel in Channel], "routes")
    return Routes(**{channel.value: _channel(table, channel) for channel in Channel})


def explain_both_forms(text: str, error: Exception) -> str:
    """Return the advice for a file in which TOML itself refuses a list beside rules; empty for another error."""
    if "twice" not in str(error) and "immutable" not in str(error) and "overwrite" not in str(error):
        return ""
    for match in _TWO_FORMS.finditer(text):
        channel = match["channel"]
        # In the table [routes], before the next table: other tables may have a key of the same name.
        in_table = rf"^\s*\[\s*routes\s*\].*\n(?:(?!\s*\[).*\n)*?\s*{channel}\s*="
        if re.search(rf"^\s*routes\s*\.\s*{channel}\s*=|{in_table}", text, re.MULTILINE):
            return f"routes.{channel} is both a list and [[routes.{channel}]] rules: use one of the two; "
    return ""


def _channel(table: Table, channel: Channel) -> tuple[Route, ...]:
    raw, key = table.raw_value(channel), f"routes.{channel}"
    if isinstance(raw, dict):
        table.add_fault(key, f"must be a list of plugins, or rules, each under [[{key}]] with two brackets")
        return ()
    if not isinstance(raw, list) or not any(isinstance(entry, dict) for entry in raw):
        return Routes.listed(channel, table.value(channel, tuple[str, ...], key) or ())
    if not all(isinstance(entry, dict) for entry in raw):
        table.add_fault(key, "mixes plugins and rules: write a list of plugins, or rules only")
        return ()
    return tuple(_rule(rule, channel, position) for position, rule in enumerate(table.rows(channel)))


def _rule(table: Table, channel: Channel, position: int) -> Route:
    # An unusable name is not quoted, because it may be a secret in the wrong place.
    text = table.optional_text("name")
    name = text if _NAME.fullmatch(text) else ""
    key = rule_key(channel, position, name)
    for empty in _NOT_EMPTY:
        if table.raw_value(empty) in ([], {}, ""):
            table.add_fault(f"{key}.{empty}", "is empty: leave the key out, or say what it should hold")
    if not name and (text or table.raw_value("name") == ""):
        table.add_fault(f"{key}.name", "may have only a-z, A-Z, 0-9, - and _, and at most 64 of them")
    rule = table.convert(Route, key, fallbacks={"name": ""}) or Route(name="")
    return msgspec.structs.replace(rule, name=name)
