"""The single values inside settings, with their paths."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gatepost.model import Secret

KeyPath = tuple[str | int, ...]
"""The keys and the positions in lists that lead to a value. A member of a set has none of its own."""


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every single value in structs, mappings, lists, tuples and sets, with its path."""
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            yield from leaves(getattr(value, field.name), (*path, field.encode_name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, Secret):
                yield path, key
            yield from leaves(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from leaves(item, (*path, position))
    elif isinstance(value, set | frozenset):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value


def secrets(value: Any) -> Iterator[Secret]:
    """Yield every Secret in structs, mappings, lists, tuples and sets."""
    return (leaf for _, leaf in leaves(value) if isinstance(leaf, Secret))
