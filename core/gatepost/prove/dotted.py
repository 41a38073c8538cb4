"""An operator's configuration as a report may show it: keys, numbers and names; dots for every other text."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_DOTS = "•••••"

_HARMLESS = {
    # Names that the configuration itself gives, countries, and words from closed lists.
    *("sources", "contacts", "email", "sms", "use", "split", "name", "clients", "countries", "prefixes"),
    *("default_region", "uncertain", "suppress", "level", "format", "trail", "balance"),
}
"""Keys of the core whose texts are no secret and no address."""

_PUBLIC_TABLES = ("contacts", "routes", "delivery", "logs")


def dotted_lines(file: Path) -> list[str]:
    """Return a line for each key of a configuration."""
    return list(_lines(tomllib.loads(file.read_text("utf-8")), ()))


def _lines(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, dict) and not (path and path[-1] == "split"):
        for key, item in value.items():
            yield from _lines(item, (*path, key))
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for position, item in enumerate(value, 1):
            yield from _lines(item, (*path, str(position)))
    else:
        yield f"{'.'.join(path)} = {_shown(value, show=_is_harmless(path))}"


def _is_harmless(path: tuple[str, ...]) -> bool:
    if path[0] == "plugins":
        return path[2:] == ("use",)
    return path[-1] in _HARMLESS and (path[0] in _PUBLIC_TABLES or path[-1] == "contacts")


def _shown(value: Any, *, show: bool) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case list():
            return f"[{', '.join(_shown(item, show=show) for item in value)}]"
        case dict():
            return f"{{{', '.join(f'{key} = {_shown(item, show=show)}' for key, item in value.items())}}}"
        case str() if show and not value.startswith(("env:", "file:")):
            return value
        case _:
            return _DOTS
