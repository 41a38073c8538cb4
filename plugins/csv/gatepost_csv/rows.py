"""From a file's text to one record a contact, and what is wrong with the file or with a row.

Of a file's content nothing gets into an error or a log but line numbers: a first line that was meant to
be a header may well be somebody's data.
"""

import csv
from collections.abc import Callable, Iterator
from enum import StrEnum
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, TextIO, TypeAlias

if TYPE_CHECKING:
    from _csv import Reader

NEEDED = ("ext_user_id", "email", "phone")

FIELD_END = "\0"
"""Between the fields of a record: a file that holds this character anywhere is refused."""

LINES_A_SLICE = 512
"""How many lines are read between two breaths: one to two milliseconds of work."""

_LINE_LIMIT = 1 << 20
"""Characters: a longer line is no contact, and reading on would only fill the memory."""

_LINES_NAMED = 20


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


Row: TypeAlias = tuple[int, str, bytes]
"""A usable row: the line where it begins, whose it is, and its fields in UTF-8, the id first.

A plain tuple: a million named ones would take a quarter of a second more.
"""


class Columns(NamedTuple):
    """What the header says."""

    width: int
    pick: Callable[[list[str]], tuple[str, ...]]
    """A row's fields in the order id, email, phone, attributes."""
    attributes: tuple[str, ...]


def open_rows(text: TextIO, delimiter: str, breathe: Callable[[], None]) -> tuple[Columns, "Reader"]:
    """Read the header of ``text``, which was opened with ``newline=""`` and ``surrogateescape``.

    Returns what it says and a reader of the rows below it. ``breathe`` is called every LINES_A_SLICE
    lines; what it raises ends the reading. Raises BadFile.
    """
    # Strict: after a quote that was never closed, the lenient reader would take the next user's address
    # for this user's.
    reader = csv.reader(_lines(text, breathe), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
    except csv.Error:
        raise BadFile("the header's quotes are not closed as they should be", 1) from None
    if header is None:
        raise BadFile("the file is empty: its first line must name the columns")
    return _columns(header), reader


def _lines(text: TextIO, breathe: Callable[[], None]) -> Iterator[str]:
    readline = text.readline
    number = 0
    while line := readline(_LINE_LIMIT):
        number += 1
        if len(line) == _LINE_LIMIT:
            raise BadFile(f"a line of {_LINE_LIMIT:,} characters or more", number)
        if not number % LINES_A_SLICE:
            breathe()
        yield line


def _columns(header: list[str]) -> Columns:
    names = [name.strip() for name in header]
    if not _is_utf8("".join(names)):
        raise BadFile("not UTF-8: save the file as UTF-8 (Excel: 'CSV UTF-8')", 1)
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


def read_rows(reader: "Reader", columns: Columns, tally: Tally, *, closed: bool) -> Iterator[Row]:
    """The usable rows; the others go to ``tally``.

    ``closed`` says that the file's last line has a line break: without one a last row of the wrong width
    is a file that somebody is still writing. Raises BadFile.
    """
    width, pick, attributes = columns
    joints = len(NEEDED) + len(attributes) - 1
    row: list[str] = []
    line = first = reader.line_num + 1
    try:
        for row in reader:
            first, line = line, reader.line_num + 1
            if len(row) != width:
                if row:  # an empty line is nobody's row
                    tally.note(RowProblem.WIDTH, first)
                continue
            fields = pick(row)
            record = FIELD_END.join(fields).encode()
            if record.count(b"\0") != joints:
                raise BadFile("a NUL character: half-written, or not UTF-8", first)
            if not fields[0].strip():
                tally.note(RowProblem.NO_ID, first)
            elif line - first > 1 and _broken(fields):
                tally.note(RowProblem.LINE_BREAK, first)
            else:
                yield first, fields[0], record
    except csv.Error:
        raise BadFile(
            "a quoted field is never closed, goes on behind its closing quote, or a field is longer than "
            f"{csv.field_size_limit():,} characters",
            line,
        ) from None
    except UnicodeEncodeError:
        raise BadFile("not UTF-8: save the file as UTF-8 (Excel: 'CSV UTF-8')", first) from None
    if not closed and row and len(row) != width:
        raise BadFile("the last line is cut short: half-written?", first)


def _broken(fields: tuple[str, ...]) -> bool:
    """Whether a quote that was closed too late has drawn other lines into what must be one line."""
    return any("\n" in field or "\r" in field for field in fields[: len(NEEDED)])


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
