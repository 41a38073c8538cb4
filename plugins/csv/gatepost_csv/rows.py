"""From a file's text to one record a contact, and what is wrong with the file or with a row.

Of a file's content nothing gets into an error or a log but line numbers: a first line that was meant to
be a header may well be somebody's data.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import accumulate, islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from _csv import Reader

NEEDED = ("ext_user_id", "email", "phone")

FIELD_END = "\0"
"""Between the fields of a record: a file that holds this character anywhere is refused."""

_ROWS_A_BATCH = 512
"""One to two milliseconds of work."""

_LINE_LIMIT = 1 << 20
"""Characters: a longer line is no contact, and reading on would only fill the memory."""

_LINES_NAMED = 20

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_FIRST = itemgetter(0)

_BAD_QUOTES = (
    "a quoted field is never closed or goes on behind its closing quote, or a field is longer than "
    f"{csv.field_size_limit():,} characters"
)


class BadFile(Exception):
    """The file as a whole can't be used; ``line`` (from 1) is where it shows, 0 where it has no place."""

    def __init__(self, problem: str, line: int = 0) -> None:
        # With separators a line number is never taken for somebody's phone number.
        super().__init__(f"line {line:,}: {problem}" if line else problem)
        self.problem = problem
        self.line = line


class RowProblem(StrEnum):
    """Why a row is not used, or was not expected."""

    WIDTH = "not as many columns as the header"
    NO_ID = "no ext_user_id"
    LINE_BREAK = "a line break in ext_user_id, email or phone"
    REPEATED = "the ext_user_id of an earlier row, which this one replaces"


class Tally:
    """How many rows had which problem, and the lines where the first of them begin."""

    def __init__(self) -> None:
        self.counts: dict[RowProblem, int] = {}
        self.lines: dict[RowProblem, list[int]] = {}

    def note(self, problem: RowProblem, line: int) -> None:
        self.counts[problem] = self.counts.get(problem, 0) + 1
        lines = self.lines.setdefault(problem, [])
        if len(lines) < _LINES_NAMED:
            lines.append(line)


class Batch(NamedTuple):
    """Some usable rows in the file's order."""

    lines: Sequence[int]
    """Where each begins."""
    ids: Sequence[str]
    records: Sequence[bytes]
    """The fields of each in UTF-8, FIELD_END between them: id, email, phone, attributes."""


class Columns(NamedTuple):
    """What the header says."""

    width: int
    pick: Callable[[list[str]], tuple[str, ...]]
    """A row's fields in the order id, email, phone, attributes."""
    attributes: tuple[str, ...]


def open_rows(text: TextIO, delimiter: str) -> tuple[Columns, "Reader"]:
    """Read the header of ``text``, which was opened with ``newline=""`` and ``surrogateescape``.

    Returns what it says and a reader of the rows below it. Raises BadFile.
    """
    # Strict: after a quote that was never closed, the lenient reader would take the next user's address
    # for this user's.
    reader = csv.reader(_lines(text), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
    except csv.Error:
        raise BadFile(_BAD_QUOTES, 1) from None
    if header is None:
        raise BadFile("the file is empty: its first line must name the columns")
    return _columns(header), reader


def _lines(text: TextIO) -> Iterator[str]:
    readline = text.readline
    number = 0
    while line := readline(_LINE_LIMIT):
        number += 1
        if len(line) == _LINE_LIMIT:
            raise BadFile(f"a line of {_LINE_LIMIT:,} characters or more", number)
        yield line


def _columns(header: list[str]) -> Columns:
    names = [name.strip() for name in header]
    _check_text(1, names)
    names = [name.lower() if name.lower() in NEEDED else name for name in names]
    if missing := [name for name in NEEDED if name not in names]:
        raise BadFile(
            f"the header has no column {', '.join(missing)}; it must name ext_user_id, email and phone, "
            "separated as `delimiter` says",
            1,
        )
    for place, name in enumerate(names):
        if name and name in names[:place]:
            raise BadFile(f"columns {names.index(name) + 1} and {place + 1} have the same name", 1)
    attributes = tuple(name for name in names if name and name not in NEEDED)
    order = [names.index(name) for name in (*NEEDED, *attributes)]
    return Columns(len(names), itemgetter(*order), attributes)


def read_batches(reader: "Reader", columns: Columns, tally: Tally, *, closed: bool) -> Iterator[Batch]:
    """The usable rows, some milliseconds' worth at a time; the others go to ``tally``.

    ``closed`` says that the file's last line has a line break: without one a last row of the wrong width
    is a file that somebody is still writing. Raises BadFile.
    """
    joints = len(NEEDED) + len(columns.attributes) - 1
    last: list[str] = []
    first = reader.line_num + 1
    while rows := _next_rows(reader, first):
        last = rows[-1]
        lines: Sequence[int] = range(first, first + len(rows))
        first = reader.line_num + 1
        if first - lines[0] > len(rows):
            lines = list(accumulate(map(_height, rows[:-1]), initial=lines[0]))
        chosen = list(map(columns.pick, rows)) if {*map(len, rows)} == {columns.width} else None
        if chosen is None or not isinstance(lines, range) or not all(map(str.strip, map(_FIRST, chosen))):
            lines, chosen = _usable(zip(lines, rows, strict=True), columns, tally)
        yield Batch(lines, list(map(_FIRST, chosen)), _encode(lines, chosen, joints))
    if not closed and last and len(last) != columns.width:
        raise BadFile("the last line is cut short: half-written?", first - _height(last))


def _next_rows(reader: "Reader", first: int) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        rows.extend(islice(reader, _ROWS_A_BATCH))
    except csv.Error:
        # The rows before the bad one are in the list, so that we know where the bad one begins.
        raise BadFile(_BAD_QUOTES, first + sum(map(_height, rows))) from None
    return rows


def _usable(
    rows: Iterable[tuple[int, list[str]]], columns: Columns, tally: Tally
) -> tuple[list[int], list[tuple[str, ...]]]:
    """One row after the other, for a batch in which not every row is as it should be."""
    lines: list[int] = []
    chosen: list[tuple[str, ...]] = []
    for line, row in rows:
        _check_text(line, row)
        if len(row) != columns.width:
            if row:  # an empty line is nobody's row
                tally.note(RowProblem.WIDTH, line)
            continue
        fields = columns.pick(row)
        if not fields[0].strip():
            tally.note(RowProblem.NO_ID, line)
        elif _height(fields[: len(NEEDED)]) > 1:
            # A quote that was closed too late has drawn other users' lines into what must be one line.
            tally.note(RowProblem.LINE_BREAK, line)
        else:
            lines.append(line)
            chosen.append(fields)
    return lines, chosen


def _encode(lines: Sequence[int], rows: list[tuple[str, ...]], joints: int) -> list[bytes]:
    try:
        records = list(map(str.encode, map(FIELD_END.join, rows)))
    except UnicodeEncodeError:
        records = []
    if len(records) < len(rows) or b"".join(records).count(b"\0") != joints * len(records):
        for line, row in zip(lines, rows, strict=True):
            _check_text(line, row)
    return records


def _check_text(line: int, row: Iterable[str]) -> None:
    """Raise BadFile where a row shows that the file is no text, or not as it should be written."""
    text = "".join(row)
    if "\0" in text:
        raise BadFile("a NUL character: half-written, or not UTF-8", line)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadFile("not UTF-8: save the file as UTF-8 (Excel: 'CSV UTF-8')", line) from None


def _height(fields: Iterable[str]) -> int:
    """How many lines of the file a row takes up."""
    return 1 + sum(len(_LINE_BREAK.findall(field)) for field in fields)
