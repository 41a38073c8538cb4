"""Leaks that are planted on purpose, in copies of what is searched: a search that does not find them proves nothing."""

import base64
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from gatepost.prove.canaries import Person
from gatepost.prove.places import LOG, STORE, Place
from gatepost.prove.search import Needles

_TAIL = 65_536
"""Bytes of the end of a place that are copied."""


class Plant(msgspec.Struct, frozen=True, kw_only=True):
    """A planted leak."""

    place: str
    spelling: str
    found: bool


def plant_all(places: Sequence[Place], store: Path | None, person: Person, needles: Needles) -> list[Plant]:
    """Plant the person's address in a copy of each kind of place; return whether the search has found it."""
    planted = []
    for number, kind in enumerate(dict.fromkeys(place.kind for place in places)):
        content = next(place.content for place in places if place.kind == kind)
        name, spell = _SPELLINGS[0 if kind in {LOG, STORE} else number % len(_SPELLINGS)]
        if kind == STORE and store is not None:
            content = _store_with(store, spell(person.email))
        else:
            content = content[-_TAIL:] + b"\n" + spell(person.email) + b"\n"
        found = any(hit.value.startswith(f"{person.user}:") for hit in needles.search(content))
        planted.append(Plant(place=f"a copy of: {kind}", spelling=name, found=found))
    return planted


def _store_with(store: Path, value: bytes) -> bytes:
    """Return the bytes of a copy of the SQLite file, with a row more."""
    copy = store.with_name("planted.db")
    shutil.copy(store, copy)
    try:
        with closing(sqlite3.connect(copy)) as database, database:
            database.execute("CREATE TABLE planted (value)")
            database.execute("INSERT INTO planted VALUES (?)", [value])
        return copy.read_bytes()
    finally:
        copy.unlink()


_SPELLINGS: Sequence[tuple[str, Callable[[str], bytes]]] = (
    ("base64", lambda text: base64.b64encode(b"to " + text.encode())),
    ("hexadecimal", lambda text: text.encode().hex().encode()),
    ("backwards", lambda text: text[::-1].encode()),
    ("upper case", lambda text: text.upper().encode()),
    ("URL-encoded", lambda text: "".join(f"%{byte:02x}" for byte in text.encode()).encode()),
)
