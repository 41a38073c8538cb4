"""The content of a whole file, and whether the file changed while it was read."""

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gatepost_csv.contact_index import ContactIndex, build_index
from gatepost_csv.parser import BadFile, ProblemCounts, open_reader, parse_batches


class Fingerprint(NamedTuple):
    """The file attributes that change when a file is replaced, rewritten in place or appended to."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """Also changes when a rewrite keeps the size and resets the modification time."""


class Snapshot(NamedTuple):
    """The content of a file at one moment."""

    fingerprint: Fingerprint
    contacts: ContactIndex
    problems: ProblemCounts
    ends_with_line_break: bool


def read_fingerprint(path: Path) -> Fingerprint | None:
    """Return the file's fingerprint, or None if the file can't be found.

    Blocks: call it in a thread.
    """
    try:
        return _fingerprint(path.stat())
    except OSError:
        return None


def read_snapshot(path: Path, delimiter: str, pause: Callable[[], None]) -> Snapshot:
    """Read the whole file.

    Takes seconds for a million rows: call it in a thread. It calls ``pause`` every few milliseconds; an
    exception from ``pause`` ends the read. Raises BadFile if the file's content can't be used and OSError
    if the file can't be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # checked before opening: to open a pipe could block for ever
        raise BadFile("not a regular file")
    with path.open("rb") as file:
        before = _fingerprint(os.fstat(file.fileno()))
        ends_with_line_break = before.size > 0 and _ends_with_line_break(file)
        with io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text:
            problems = ProblemCounts()
            columns, reader = open_reader(text, delimiter)
            batches = parse_batches(reader, columns, problems, ends_with_line_break=ends_with_line_break)
            contacts = build_index(batches, columns, problems, pause)
            if _fingerprint(os.fstat(file.fileno())) != before:
                raise BadFile("another program changed the file while it was read")
    return Snapshot(before, contacts, problems, ends_with_line_break)


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return Fingerprint(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _ends_with_line_break(file: io.BufferedReader) -> bool:
    file.seek(-1, os.SEEK_END)
    last_byte = file.read(1)
    file.seek(0)
    return last_byte in {b"\n", b"\r"}
