"""Read a file from its first byte to its last, and tell whether it stood still meanwhile."""

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gatepost_csv.rows import BadFile, Tally, open_rows, read_batches
from gatepost_csv.table import Contacts, load


class Fingerprint(NamedTuple):
    """What changes when a file is replaced, rewritten in place, or written to."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """Also moves where a rewrite kept the size and set the modification time back."""


class Snapshot(NamedTuple):
    """A whole file, read."""

    fingerprint: Fingerprint
    contacts: Contacts
    tally: Tally
    closed: bool
    """Whether the last line ends with a line break."""


def look(path: Path) -> Fingerprint | None:
    """The file's fingerprint, None where there is no file to be seen. A system call: not for the loop."""
    try:
        return _fingerprint(path.stat())
    except OSError:
        return None


def read(path: Path, delimiter: str, breathe: Callable[[], None]) -> Snapshot:
    """Read the whole file. Takes seconds for a million rows: not for the loop.

    ``breathe`` is called every few milliseconds, and what it raises ends the reading. Raises BadFile for
    a file that can't be used and OSError for one that can't be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # before it is opened: a pipe would make us wait for ever
        raise BadFile("not a regular file")
    with path.open("rb") as file:
        before = _fingerprint(os.fstat(file.fileno()))
        closed = before.size > 0 and _ends_with_line_break(file)
        with io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text:
            tally = Tally()
            columns, reader = open_rows(text, delimiter)
            batches = read_batches(reader, columns, tally, closed=closed)
            contacts = load(batches, columns.attributes, tally, breathe)
            if _fingerprint(os.fstat(file.fileno())) != before:
                raise BadFile("somebody is writing to the file")
    return Snapshot(before, contacts, tally, closed)


def _fingerprint(found: os.stat_result) -> Fingerprint:
    return Fingerprint(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _ends_with_line_break(file: io.BufferedReader) -> bool:
    file.seek(-1, os.SEEK_END)
    last = file.read(1)
    file.seek(0)
    return last in {b"\n", b"\r"}
