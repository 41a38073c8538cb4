"""What the type of a setting says about it: its description, its choices, and the types that it is composed of."""

import json
import types
from typing import Any, Literal, Union, get_args, get_origin

import msgspec


def meta_value(hint: Any, name: Literal["description", "examples"]) -> Any:
    """Return the description or the first example in a type's Meta; None when there is none."""
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    found = next((value for meta in reversed(metas) if (value := getattr(meta, name))), None)
    return found[0] if found and name == "examples" else found


def choices(hint: Any) -> list[str]:
    """Return the values that a type allows, as TOML; none where it allows any."""
    if get_origin(hint) is Literal:
        return [json.dumps(value) for value in get_args(hint) if value]
    return [choice for part in _alternatives(hint) for choice in choices(part)]


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the type that is annotated, those of a union, or those in a list; nothing for other types."""
    if hasattr(hint, "__metadata__"):
        return (hint.__origin__,)
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType, tuple} else ()


def leaf_types(hint: Any) -> set[Any]:
    """Return every type that a type is composed of."""
    if hasattr(hint, "__metadata__"):
        return leaf_types(hint.__origin__)
    inner = {leaf for part in get_args(hint) if part is not Ellipsis for leaf in leaf_types(part)}
    return inner | {get_origin(hint) or hint} if get_origin(hint) is not Literal else {Literal}
