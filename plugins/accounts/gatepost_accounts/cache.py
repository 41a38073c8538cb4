"""Answers that the service allows to be kept (RFC 9111), in memory only.

An answer is used again only while its own ``max-age`` lasts, or after the service has confirmed it (304). Nothing is
guessed: without ``max-age`` each lookup asks. Only users are kept: one who is unknown may have registered since.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gatepost.model import Contact

MAX_ENTRIES = 10_000
MAX_BODY = 4_096
"""Bytes of an answer that is kept; with MAX_ENTRIES it bounds the memory."""

_DIRECTIVE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^\s,;]*))?")
_ETAG = re.compile(r'(?:W/)?"[!\x23-\x7e]{0,255}"')
_SECONDS = re.compile(r'"?([0-9]{1,9})"?')


class Entry(NamedTuple):
    """A contact that is kept."""

    contact: Contact
    etag: str
    """Empty where the service gave none."""
    fresh_until: float


class Validity(NamedTuple):
    """What the headers of an answer allow."""

    store: bool
    seconds: float
    """How long it may be used without asking, from when it was asked for."""
    etag: str


class AnswerCache:
    """The last answers about users, the most recently used ones of them."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, ext_user_id: str) -> Entry | None:
        """Return what is kept about a user."""
        entry = self._entries.get(ext_user_id)
        if entry is not None:
            self._entries.move_to_end(ext_user_id)
        return entry

    def store(
        self,
        ext_user_id: str,
        contact: Contact,
        headers: Mapping[str, str],
        asked_at: float,
        *,
        etag: str = "",
    ) -> None:
        """Keep an answer, as far as its headers allow; otherwise drop what is kept about the user.

        ``etag`` is that of the answer which these headers confirm.
        """
        validity = validity_of(headers)
        etag = validity.etag or etag
        if not validity.store or not (validity.seconds or etag):
            self.drop(ext_user_id)
            return
        self._entries[ext_user_id] = Entry(contact, etag, asked_at + validity.seconds)
        self._entries.move_to_end(ext_user_id)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def drop(self, ext_user_id: str) -> None:
        """Forget a user."""
        self._entries.pop(ext_user_id, None)

    def clear(self) -> None:
        """Forget everybody."""
        self._entries.clear()


def validity_of(headers: Mapping[str, str]) -> Validity:
    """Return what the headers of an answer allow; what is contradictory or malformed allows nothing."""
    directives: dict[str, set[str]] = {}
    for name, value in _directives(headers):
        directives.setdefault(name, set()).add(value)
    etag = headers.get("ETag", "").strip()
    etag = etag if _ETAG.fullmatch(etag) else ""
    if "no-store" in directives or "*" in headers.get("Vary", ""):
        return Validity(store=False, seconds=0.0, etag="")
    if "no-cache" in directives:
        return Validity(store=True, seconds=0.0, etag=etag)
    ages = directives.get("max-age", set())
    seconds = _seconds(ages.pop()) if len(ages) == 1 else None
    # How long it was kept on its way: RFC 9111 §4.2.3.
    age = _seconds(headers.get("Age", "0").strip())
    fresh = 0.0 if seconds is None or age is None else max(0.0, seconds - age)
    return Validity(store=True, seconds=fresh, etag=etag)


def _directives(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the directives of every Cache-Control header: they may stand in several."""
    for header, text in headers.items():
        if header.lower() == "cache-control":
            for found in _DIRECTIVE.finditer(text):
                yield found[1].lower(), found[2] or ""


def _seconds(text: str) -> float | None:
    found = _SECONDS.fullmatch(text)
    return float(found[1]) if found else None
