"""The text of an answer, or of an option, as the TOML value that a setting of this type has in the file."""

import tomllib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from gatepost.cli.setting_types import leaf_types
from gatepost.config.networks import Network
from gatepost.model import Secret
from gatepost.observe.leaves import KeyPath

REFERENCES = ("env:", "file:")
"""The beginnings of a text that says where the value is."""

_TEXTS = {str, Secret, Path, Network, Literal, types.NoneType, types.UnionType, Union}
"""What a type is composed of whose values are texts in the file."""


def toml_value(text: str, hint: Any) -> Any:
    """Return what the file has for an answer: a text, a list of what stands between commas, or the TOML that it is.

    The result may have a wrong type; the reader of the file says so in its own words.
    """
    if _list_in(hint):
        found = _parse(text) if text.lstrip().startswith("[") else None
        parts = [part.strip() for part in text.split(",")]
        return (
            found
            if isinstance(found, list)
            else [toml_value(part, _item_hint(hint)) for part in parts if part]
        )
    if leaf_types(hint) <= _TEXTS:
        # A secret stays as it was typed.
        return text if Secret in leaf_types(hint) else text.strip()
    found = _parse(text)
    return text.strip() if found is None else found


def _parse(text: str) -> Any:
    """Return the TOML value that a text is; None for any other text, and for a date, which no setting is."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    value = found.get("value")
    return value if len(found) == 1 and isinstance(value, bool | int | float | str | list | dict) else None


def key_path(text: str) -> tuple[str, ...]:
    """Return the parts of a dotted key, of which some may be quoted as in TOML; none where it is no key."""
    try:
        found: Any = tomllib.loads(f"{text} = 0")
    except (tomllib.TOMLDecodeError, RecursionError):
        return ()
    path: list[str] = []
    while isinstance(found, dict) and len(found) == 1:
        path += found
        found = found[path[-1]]
    return tuple(path) if found == 0 else ()


def inner_hint(hint: Any, path: tuple[str, ...]) -> Any:
    """Return the type of the key at this path inside a table of the type ``hint``; Any where that is not known."""
    for name in path:
        hint = next((found for one in _alternatives(hint) if (found := _field_hint(one, name))), Any)
    return hint


def plain_secrets(value: Any, hint: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield each secret in a TOML value of the type ``hint`` that is written out, with its path."""
    if isinstance(value, str):
        if value and Secret in leaf_types(hint) and not value.startswith(REFERENCES):
            yield path, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from plain_secrets(inner, inner_hint(hint, (name,)), (*path, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from plain_secrets(item, _item_hint(hint), (*path, position))


def _alternatives(hint: Any) -> Iterator[Any]:
    """Yield the types that a value may have, without annotations."""
    if hasattr(hint, "__metadata__"):
        yield from _alternatives(hint.__origin__)
    elif get_origin(hint) in {Union, types.UnionType}:
        for one in get_args(hint):
            yield from _alternatives(one)
    else:
        yield hint


def _field_hint(hint: Any, name: str) -> Any:
    """Return the type of a field of a struct, or of the values of a dict; None for another type or name."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        fields = {field.encode_name: field.name for field in msgspec.structs.fields(hint)}
        return get_type_hints(hint, include_extras=True)[fields[name]] if name in fields else None
    values = get_args(hint)
    return values[1] if get_origin(hint) in {dict, Mapping} and len(values) == 2 else None


def _list_in(hint: Any) -> Any:
    """Return the list that a value may be; None for a type without one."""
    return next((one for one in _alternatives(hint) if get_origin(one) in {tuple, list, frozenset}), None)


def _item_hint(hint: Any) -> Any:
    found = _list_in(hint)
    return get_args(found)[0] if found else Any
