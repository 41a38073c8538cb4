"""Texts with placeholders, and JSON made of them. A value is encoded by where it stands and can't leave its place.

A placeholder is ``{name}``; ``{{`` and ``}}`` are braces. Where a placeholder has no value, its whole text has none, and
the member, field, parameter or header that it belongs to is left out.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any
from urllib.parse import quote

Value = str | Mapping[str, str] | None
"""The value of a placeholder; None where the message has none."""
Values = Mapping[str, Value]
"""The values of one message by the names of their placeholders."""

HEADERS = "headers"
"""The placeholder for all headers of an email: an object, and not a text."""
SPREAD = "..."
"""The name of a member whose value is an object, the members of which take its place."""
NUMBERS = frozenset({"lifetime_seconds", "lifetime_minutes", "recipient_digits"})
"""The placeholders that may become numbers in JSON, as in ``{lifetime_minutes:number}``."""

AddFault = Callable[[str, str], None]
"""Adds a fault: the key, and what is wrong."""

_PART = re.compile(r"\{\{|\}\}|\{(?P<name>[a-z_]+(?:\.[A-Za-z0-9_-]+)?)(?P<number>:number)?\}|[{}]")
_NUMBER = re.compile(r"\{([a-z_]+):number\}")


@dataclass(frozen=True, slots=True)
class Text:
    """A text with placeholders: literal texts at even positions, names at odd ones."""

    parts: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its placeholders."""
        return self.parts[1::2]

    def fill(self, values: Values) -> str | None:
        """Return the text with its values; None where one of them is missing."""
        filled = list(self.parts)
        for position in range(1, len(filled), 2):
            value = values[filled[position]]
            if not isinstance(value, str):
                return None
            filled[position] = value
        return "".join(filled)

    def fill_path(self, values: Values) -> str:
        """Return the text as a URL path in which each value is within one segment."""
        parts = enumerate(self.parts)
        return "".join(
            quote(str(values[part]), safe="") if position % 2 else part for position, part in parts
        )


@dataclass(frozen=True, slots=True)
class Number:
    """A placeholder that becomes a number in JSON."""

    name: str


Json = Text | Number | list[Any] | dict[str, Any] | int | float | bool
"""JSON whose texts are templates."""


class TemplateError(ValueError):
    """A text that is no template; says what is wrong, and quotes names of placeholders only."""


def parse_text(text: str, allowed: Collection[str]) -> Text:
    """Return a template; raises TemplateError for stray braces and for placeholders that are not allowed here."""
    parts, literal, end = [], "", 0
    for found in _PART.finditer(text):
        literal, end = literal + text[end : found.start()], found.end()
        name = found["name"]
        if name is None:
            if len(found[0]) == 1:
                raise TemplateError("has a brace that belongs to no placeholder: write {{ or }} for a brace")
            literal += found[0][0]
            continue
        if found["number"]:
            raise TemplateError(f"{{{name}:number}} must be the whole of a text in request.json")
        _expect_allowed(name, allowed)
        parts += [literal, name]
        literal = ""
    return Text((*parts, literal + text[end:]))


def parse_json(value: Any, allowed: Collection[str], key: str, add_fault: AddFault) -> Json:
    """Return a JSON template; adds a fault for every text that is none, with the key where it stands."""
    if isinstance(value, dict):
        if not isinstance(value.get(SPREAD, {}), dict) and value[SPREAD] != f"{{{HEADERS}}}":
            add_fault(f"{key}.{SPREAD}", "adds the members of an object: it must be {headers} or a table")
        return {name: parse_json(item, allowed, f"{key}.{name}", add_fault) for name, item in value.items()}
    if isinstance(value, list):
        return [
            parse_json(item, allowed, f"{key}[{number}]", add_fault)
            for number, item in enumerate(value, start=1)
        ]
    if isinstance(value, str):
        try:
            return _parse_leaf(value, allowed)
        except TemplateError as error:
            add_fault(key, str(error))
    elif isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    else:
        add_fault(key, "must be a text, a number, true, false, a table or an array")
    return False


def _parse_leaf(text: str, allowed: Collection[str]) -> Json:
    if number := _NUMBER.fullmatch(text):
        _expect_allowed(number[1], allowed)
        if number[1] not in NUMBERS:
            raise TemplateError(f"{{{number[1]}}} is no number; there are: {', '.join(sorted(NUMBERS))}")
        return Number(number[1])
    template = parse_text(text, allowed)
    if HEADERS in template.names and template.parts != ("", HEADERS, ""):
        raise TemplateError("{headers} must be the whole of a text")
    return template


def names_in(template: Json | None) -> set[str]:
    """Return the names of all placeholders in a template."""
    match template:
        case Text():
            return set(template.names)
        case Number():
            return {template.name}
        case list():
            return {name for item in template for name in names_in(item)}
        case dict():
            return {name for item in template.values() for name in names_in(item)}
    return set()


def fill_json(template: Json, values: Values) -> Any:
    """Return the JSON with its values; None where nothing is left of it."""
    match template:
        case Text(("", "headers", "")):
            return values[HEADERS] or None
        case Text():
            return template.fill(values)
        case Number():
            return int(str(values[template.name]))
        case list():
            return [filled for item in template if (filled := fill_json(item, values)) is not None]
        case dict():
            return _fill_object(template, values)
    return template


def _fill_object(template: dict[str, Json], values: Values) -> dict[str, Any] | None:
    filled: dict[str, Any] = {}
    for key, item in template.items():
        value = fill_json(item, values)
        if key == SPREAD:
            filled |= value or {}
        elif value is not None:
            filled[key] = value
    return filled if filled or not template else None


def _expect_allowed(name: str, allowed: Collection[str]) -> None:
    if name not in allowed:
        closest = next(iter(difflib.get_close_matches(name, sorted(allowed), 1)), "")
        question = f"is it {{{closest}}}? " if closest else ""
        names = ", ".join(f"{{{known}}}" for known in sorted(allowed)) or "none"
        raise TemplateError(f"{{{name}}} is no placeholder here; {question}there are: {names}")
