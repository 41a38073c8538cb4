"""The building of an index from the rows of one or several files."""

import mmap
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from gatepost_csv.columns import Columns
from gatepost_csv.contact_index import CONFLICT, HASH_MASK, POSITION_MASK, ContactIndex
from gatepost_csv.parser import MAX_LOGGED_LINES, Batch, ProblemCounts, RowProblem
from gatepost_csv.records import RecordBlocks

_SLICE_ROWS = 2048
"""Rows that are put into the table between two pauses: one to two milliseconds of work."""


class Conflicts(NamedTuple):
    """The users about whom two files contradict each other: the address, the number or anything else is not the same."""

    users: int
    places: tuple[str, ...]
    """Of the first of them: the names and lines of the two rows."""


class _Rows(NamedTuple):
    """The usable rows of one file."""

    file: Path
    start: int
    """The number of the first row; those of all files are counted together."""
    problems: ProblemCounts


class IndexBuilder:
    """Takes the rows of one file after the other.

    Of several rows with the same id in one file the last one counts. Rows in different files must be the same: no file is
    known to be right, and a time of modification, which a copy changes, would only seem to say it. A block in any of them counts.
    """

    def __init__(self, pause: Callable[[], None]) -> None:
        """``pause`` is called every one or two milliseconds; an exception from it ends the work."""
        self._pause = pause
        self._blocks = RecordBlocks()
        self._hashes = array("q")
        self._positions = array("Q")
        self._lines = array("Q")
        self._files: list[_Rows] = []
        self._blocked: dict[str, str] = {}

    def add_file(
        self, file: Path, batches: Iterable[Batch], columns: Columns, problems: ProblemCounts
    ) -> None:
        """Take the rows of one file; each that a later row replaces will be counted in ``problems``."""
        self._files.append(_Rows(file, len(self._hashes), problems))
        for batch in batches:
            self._pause()
            self._hashes.extend(map(hash, batch.ids))
            self._positions.extend(self._blocks.add(batch.records, columns))
            self._lines.extend(batch.lines)
        self._blocks.finish_block(columns)

    def build(self) -> tuple[ContactIndex, Conflicts]:
        """Return the index of all rows."""
        # At most half full, so that a search takes one or two steps. Python seeds its hashes with a random number,
        # so that ids that collide can not be chosen.
        table = _zeros(1 << (2 * len(self._hashes)).bit_length())
        end = len(self._hashes)
        # From the end, so that the first row of an id that is found in a file is the one that counts.
        rows = zip(reversed(range(end)), reversed(self._hashes), reversed(self._positions), strict=True)
        users = conflicts = 0
        pairs: deque[tuple[int, int]] = deque(maxlen=MAX_LOGGED_LINES)
        for one in reversed(self._files):
            repeated: deque[int] = deque(maxlen=MAX_LOGGED_LINES)
            new, replaced, contradicting = self._put(
                table, islice(rows, end - one.start), end, repeated, pairs
            )
            users += new
            conflicts += contradicting
            if replaced:
                one.problems.counts[RowProblem.REPEATED] = replaced
                one.problems.lines[RowProblem.REPEATED] = list(reversed(repeated))
            end = one.start
        places = tuple(f"{self._place(row)} and {self._place(other)}" for row, other in reversed(pairs))
        return ContactIndex(self._blocks, table, self._blocked, users), Conflicts(conflicts, places)

    def _put(
        self,
        table: "memoryview[int]",
        rows: Iterable[tuple[int, int, int]],
        end: int,
        repeated: deque[int],
        pairs: deque[tuple[int, int]],
    ) -> tuple[int, int, int]:
        """Put the rows of one file into the table; return how many are new, replaced by later rows, and in a conflict.

        ``end`` is the number of the row after its last one. The other rows are noted in ``repeated`` and ``pairs``.
        """
        slot_mask = len(table) - 1
        limit = self._positions[end] if end < len(self._positions) else POSITION_MASK
        new = replaced = conflicts = 0
        for number, id_hash, position in rows:
            if not number % _SLICE_ROWS:
                self._pause()
            slot = id_hash & slot_mask
            while entry := table[slot]:
                if not (entry ^ id_hash) & HASH_MASK and self._same_id(entry & POSITION_MASK, position):
                    break
                slot = (slot + 1) & slot_mask
            if not entry:
                table[slot] = id_hash & HASH_MASK | position
                new += 1
                continue
            if (other := entry & POSITION_MASK) < limit:
                replaced += 1
                repeated.append(self._lines[number])
                continue
            if self._contradict(entry, position):
                if not entry & CONFLICT:
                    conflicts += 1
                    pairs.append((position, other))
                entry |= CONFLICT
            table[slot] = id_hash & HASH_MASK | entry & CONFLICT | position
        return new, replaced, conflicts

    def _contradict(self, entry: int, position: int) -> bool:
        """Return whether the files contradict each other about a user; note the reason if one of them blocks the user."""
        known, contact = self._blocks.contact(entry & POSITION_MASK), self._blocks.contact(position)
        if not entry & CONFLICT and known == contact:
            return False
        if reason := known.blocked or contact.blocked:
            self._blocked.setdefault(self._blocks.fields(position)[0], reason)
        return True

    def _same_id(self, position: int, other: int) -> bool:
        return self._blocks.fields(position)[0] == self._blocks.fields(other)[0]

    def _place(self, position: int) -> str:
        row = bisect_left(self._positions, position)
        file = self._files[bisect_right(self._files, row, key=lambda one: one.start) - 1].file
        return f"{file.name} line {self._lines[row]:,}"


def _zeros(size: int) -> "memoryview[int]":
    return memoryview(mmap.mmap(-1, 8 * size)).cast("Q")
