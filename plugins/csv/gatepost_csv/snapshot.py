"""The content of all files at one moment, and whether it may replace the one before."""

import io
import os
import stat
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from gatepost_csv.bad_file import BadFile
from gatepost_csv.contact_index import ContactIndex
from gatepost_csv.content import Content
from gatepost_csv.files import Fingerprint, Fingerprints, find_files, fingerprint
from gatepost_csv.index_builder import Conflicts, IndexBuilder
from gatepost_csv.parser import ProblemCounts, open_reader, parse_batches
from gatepost_csv.settings import Settings

_BUFFER_SIZE = 1 << 17


class ReadFile(NamedTuple):
    """What is known of one file that was read, besides its contacts."""

    path: Path
    fingerprint: Fingerprint
    problems: ProblemCounts
    has_blocked: bool
    """Whether the file says which users must not be contacted."""
    ends_with_line_break: bool


class Snapshot(NamedTuple):
    """The content of all files at one moment."""

    files: Sequence[ReadFile]
    contacts: ContactIndex
    conflicts: Conflicts

    @property
    def fingerprints(self) -> Fingerprints:
        """The fingerprints of the files."""
        return tuple((one.path, one.fingerprint) for one in self.files)

    @property
    def written_at(self) -> float:
        """When the oldest file was written: the users in it are known as they were then. In seconds since the epoch."""
        return min(one.fingerprint.modified_ns for one in self.files) / 1_000_000_000

    @property
    def has_blocked(self) -> bool:
        """Whether the files say which users must not be contacted: each of them does, or none."""
        return self.files[0].has_blocked


def read_snapshot(settings: Settings, pause: Callable[[], None]) -> Snapshot:
    """Read all files as a whole.

    Takes seconds for a million rows: call it in a thread. It calls ``pause`` every few milliseconds; an
    exception from ``pause`` ends the read. Raises BadFile if the content of a file can't be used and OSError
    if one can't be read.
    """
    builder = IndexBuilder(pause)
    files: list[ReadFile] = []
    for path in find_files(settings.path):
        try:
            files.append(_read_file(path, settings, builder))
        except BadFile as error:
            raise BadFile(error.problem, error.line, path) from None
        if files[-1].has_blocked != files[0].has_blocked:
            with_it, without = (files[0], files[-1]) if files[0].has_blocked else (files[-1], files[0])
            raise BadFile(
                f"no column `blocked`, unlike {with_it.path.name}: its users could be contacted",
                0,
                without.path,
            )
    return Snapshot(files, *builder.build())


def _read_file(path: Path, settings: Settings, builder: IndexBuilder) -> ReadFile:
    if not stat.S_ISREG(path.stat().st_mode):  # checked before opening: to open a pipe could block for ever
        raise BadFile("not a regular file")
    with path.open("rb") as file:
        before = fingerprint(os.fstat(file.fileno()))
        content = Content(file, before.size)
        buffered = io.BufferedReader(content, _BUFFER_SIZE)
        with io.TextIOWrapper(buffered, "utf-8-sig", errors="surrogateescape", newline="") as text:
            problems = ProblemCounts()
            columns, reader = open_reader(text, settings.delimiter, settings.columns)
            batches = parse_batches(reader, columns, problems, lambda: content.ends_with_line_break)
            builder.add_file(path, batches, columns, problems)
            if fingerprint(os.fstat(file.fileno())) != before:
                raise BadFile("another program changed the file while it was read")
    return ReadFile(path, before, problems, columns.has_blocked, content.ends_with_line_break)


def check_replacement(old: Snapshot, new: Snapshot) -> None:
    """Raise BadFile if the new files seem to be incomplete beside those in use."""
    if 2 * len(new.contacts) < len(old.contacts):
        raise BadFile(
            f"{len(new.contacts):,} users, fewer than half of the {len(old.contacts):,} in use; if that "
            "is right, restart the gateway"
        )
    if old.has_blocked and not new.has_blocked:
        raise BadFile(
            "no column `blocked`, unlike the file in use, so that every user could be contacted; if that is right, "
            "restart the gateway"
        )
    known = {one.path for one in old.files}
    unfinished = _without_line_break(old)
    for path in _without_line_break(new):
        # A new file is compared with all others: some exports never write the last line break.
        if path not in unfinished and (path in known or not unfinished):
            raise BadFile(
                "no line break at its end, unlike the file in use; the export may not be finished", 0, path
            )


def _without_line_break(snapshot: Snapshot) -> Collection[Path]:
    return [one.path for one in snapshot.files if not one.ends_with_line_break]
