"""Searches bytes for private values, in every spelling and encoding in which they may have got there.

It shares no code with the gateway's redaction: that computes the encodings of a value, and this decodes the bytes.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gatepost.prove import digests
from gatepost.prove.views import letters, views

PIECE_SIZE, OVERLAP = 1 << 20, 4096
"""Bytes of a piece of a long content, and bytes that two pieces share."""

_CORE_LENGTH = 6
"""Letters with which a value begins. Values that begin alike are looked for together."""

_SURROUNDINGS = 60
"""Letters before and behind a hit that a test shows."""

_SPOKEN_SIGNS = {"@": " at ", ".": " dot ", "+": " plus ", "-": " dash ", "_": " underscore "}


class Hit(NamedTuple):
    """A value that was found."""

    value: str
    """The value's name, never the value."""
    spelling: str
    """How it was written."""
    surroundings: str
    """The letters around it. They hold the value itself: a test may show them, a report must not."""


class _Form(NamedTuple):
    text: str
    value: str
    backwards: str


class Needles:
    """What is searched for."""

    def __init__(self, values: Mapping[str, str], hashed: Mapping[str, str] | None = None) -> None:
        """Take values by their names, and those of them, by names of their own, whose plain hashes are looked for too."""
        self._by_core: dict[str, list[_Form]] = defaultdict(list)
        for form, name in _forms(values).items():
            core = form[:_CORE_LENGTH]
            self._by_core[core].append(_Form(form, name, ""))
            self._by_core[core[::-1]].append(_Form(form[::-1], name, " backwards"))
        self._digests = digests.digests_of(hashed or {})
        self.spellings = sum(map(len, self._by_core.values())) + len(self._digests)
        """The texts and hashes that are looked for, each in every view of a content."""

    def search(self, content: bytes) -> Iterator[Hit]:
        """Yield the values that the content holds, each once for every spelling and piece."""
        for start in range(0, max(len(content), 1), PIECE_SIZE):
            piece = content[start : start + PIECE_SIZE + OVERLAP]
            for way, seen in views(piece):
                text = letters(seen.decode("utf-8", "replace"))
                yield from self._search_text(way, text)
            for name, way in digests.find(piece, self._digests):
                yield Hit(name, way, "")

    def _search_text(self, way: str, text: str) -> Iterator[Hit]:
        for core, forms in self._by_core.items():
            if core not in text:
                continue
            for form, name, backwards in forms:
                at = text.find(form)
                if at >= 0:
                    around = text[max(at - _SURROUNDINGS, 0) : at + len(form) + _SURROUNDINGS]
                    yield Hit(name, f"{way}{backwards}", around)


def search_folder(folder: Path, needles: Needles, *, but: tuple[str, ...] = ()) -> Iterator[tuple[str, Hit]]:
    """Search every file under ``folder`` and its name, except those whose names begin with one of ``but``.

    Yields the file's name within the folder with each hit.
    """
    for name, content in files(folder, but=but):
        yield from ((name, hit) for hit in needles.search(name.encode() + b"\n" + content))


def files(folder: Path, *, but: tuple[str, ...] = ()) -> Iterator[tuple[str, bytes]]:
    """Yield the name within the folder and the content of everything under it; folders and sockets have none."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not name.startswith(but):
            yield name, path.read_bytes() if path.is_file() else b""


def _forms(values: Mapping[str, str]) -> dict[str, str]:
    """Return the letters that are looked for, each with the name of its value."""
    found = {letters(value): name for name, value in values.items()}
    for name, value in values.items():
        for signs in ("@.", "@.+", "@.+-_"):
            spoken = "".join(_SPOKEN_SIGNS[sign] if sign in signs else sign for sign in value)
            found.setdefault(letters(spoken), name)
    return {form: name for form, name in found.items() if form}


def person_values(email: str, phone: str, *names: str, calling_code: str = "44") -> dict[str, str]:
    """Return every part of a person's data that identifies the person, by its name."""
    local, _, domain = email.partition("@")
    digits = re.sub(r"\D", "", phone)
    return {
        "local part": local,
        "domain": domain,
        "number": digits,
        "national number": digits.removeprefix(calling_code),
        **{f"name {position}": name for position, name in enumerate(names)},
    }
