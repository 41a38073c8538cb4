"""The search of ``gatepost prove``, as the canary tests use it: a hit is a text that shows what stands around it."""

from collections.abc import Mapping
from pathlib import Path

from gatepost.prove.search import Hit, Needles, person_values, search_folder

of_person = person_values


def found(content: bytes, values: Mapping[str, str]) -> list[str]:
    """Return the names of the values that ``content`` holds, each with its spelling and its surroundings."""
    return list(map(_text, Needles(values).search(content)))


def in_folder(folder: Path, values: Mapping[str, str], *, but: tuple[str, ...] = ()) -> list[str]:
    """Search every file under ``folder`` and its name, except those whose names begin with one of ``but``."""
    return [f"{name}: {_text(hit)}" for name, hit in search_folder(folder, Needles(values), but=but)]


def _text(hit: Hit) -> str:
    return f"{hit.value} {hit.spelling}: …{hit.surroundings}…"
