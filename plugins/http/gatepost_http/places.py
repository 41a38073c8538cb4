"""Places of values: in JSON by pointers (RFC 6901), in forms and in queries by name. Pure functions."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from gatepost import wire

_MAX_TEXT = 255  # characters of a value that is used: the longest id
_MAX_NUMBER = 2**128  # as large as a UUID; a number of thousands of digits takes long to be written


class Place(NamedTuple):
    """Where one value stands."""

    kind: Literal["json", "form", "query"]
    path: tuple[str, ...]
    """The tokens of a pointer, or the one name."""


class Sources(NamedTuple):
    """What the places of one report point into."""

    json: Any = None
    form: Mapping[str, str] = {}
    query: Mapping[str, str] = {}


def parse_place(text: str) -> Place:
    """Return a place; raises ValueError where the text names none."""
    kind, colon, name = text.partition(":")
    if colon and name and not text.startswith("/"):
        if kind == "form":
            return Place("form", (name,))
        if kind == "query":
            return Place("query", (name,))
    if not text.startswith("/"):
        raise ValueError("must be a JSON pointer such as /message/id, or form:NAME, or query:NAME")
    return Place("json", wire.parse_pointer(text))


def text_of(value: Any) -> str:
    """Return a text, a whole number or a boolean as a text; empty for any other value, and for a longer text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) < _MAX_NUMBER:
        return str(value)
    return value if isinstance(value, str) and len(value) <= _MAX_TEXT else ""


def read(place: Place | None, sources: Sources) -> str:
    """Return the text at a place; empty where there is none."""
    if place is None:
        return ""
    if place.kind == "json":
        return text_of(wire.resolve(sources.json, place.path))
    return text_of((sources.form if place.kind == "form" else sources.query).get(place.path[0]))
