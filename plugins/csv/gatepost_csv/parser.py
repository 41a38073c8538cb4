"""The parser of CSV files: one record per contact, and the problem of each file or row that it refuses.

Errors and logs quote nothing of a file's content, only line numbers: even the first line, where the header
should be, may hold a person's data.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate, islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, TextIO

from gatepost_csv.bad_file import BadFile
from gatepost_csv.columns import REQUIRED_COLUMNS, Columns, parse_header

if TYPE_CHECKING:
    from _csv import Reader

FIELD_SEPARATOR = "\0"
"""The character between the fields of a record. A file that holds this character anywhere is refused."""

_BATCH_ROWS = 512
"""Rows parsed at once: one to two milliseconds of work."""

_MAX_LINE_LENGTH = 1 << 20
"""Characters. A longer line is no contact, and to read on would only fill the memory."""

MAX_LOGGED_LINES = 20

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_first_field = itemgetter(0)

_BAD_QUOTES = (
    "a quoted field is not closed or continues after its closing quote, or a field is longer than "
    f"{csv.field_size_limit():,} characters"
)


class RowProblem(StrEnum):
    """The reason why a row is ignored."""

    WIDTH = "not as many columns as the header"
    NO_ID = "no ext_user_id"
    LINE_BREAK = "a line break in ext_user_id, email or phone"
    REPEATED = "the ext_user_id of a later row, which replaces this one"


class ProblemCounts:
    """The number of rows with each problem, and the first lines where it occurs."""

    def __init__(self) -> None:
        self.counts: dict[RowProblem, int] = {}
        self.lines: dict[RowProblem, list[int]] = {}

    def add(self, problem: RowProblem, line: int) -> None:
        """Count a row with this problem."""
        self.counts[problem] = self.counts.get(problem, 0) + 1
        lines = self.lines.setdefault(problem, [])
        if len(lines) < MAX_LOGGED_LINES:
            lines.append(line)


class Batch(NamedTuple):
    """Some usable rows, in the order of the file."""

    lines: Sequence[int]
    """The line where each row begins."""
    ids: Sequence[str]
    records: Sequence[bytes]
    """Each row's fields in UTF-8, separated by FIELD_SEPARATOR, in the order of Columns.select."""


def open_reader(text: TextIO, delimiter: str, renamed: Mapping[str, str]) -> tuple[Columns, "Reader"]:
    """Read the header and return its columns and a reader of the rows below it; ``renamed`` is as in parse_header.

    ``text`` must be opened with ``newline=""`` and ``errors="surrogateescape"``. Raises BadFile.
    """
    # Strict, because after an unclosed quote the lenient reader would give one user the address of the next.
    reader = csv.reader(_read_lines(text), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
    except csv.Error:
        raise BadFile(_BAD_QUOTES, 1) from None
    if header is None:
        raise BadFile("the file is empty: its first line must name the columns")
    _check_text(1, header)
    return parse_header(header, renamed), reader


def _read_lines(text: TextIO) -> Iterator[str]:
    readline = text.readline
    number = 0
    while line := readline(_MAX_LINE_LENGTH):
        number += 1
        if len(line) == _MAX_LINE_LENGTH:
            raise BadFile(f"a line of {_MAX_LINE_LENGTH:,} characters or more", number)
        yield line


def parse_batches(
    reader: "Reader", columns: Columns, problems: ProblemCounts, ends_with_line_break: Callable[[], bool]
) -> Iterator[Batch]:
    """Yield the usable rows in batches of a few milliseconds' work; count the other rows in ``problems``.

    ``ends_with_line_break`` says after the last row whether its line has a line break. If it has none and the last
    row has the wrong width, another program is still writing the file. Raises BadFile.
    """
    separators = len(REQUIRED_COLUMNS) + len(columns.attributes) + columns.has_blocked - 1
    last_row: list[str] = []
    next_line = reader.line_num + 1
    while rows := _read_rows(reader, next_line):
        last_row = rows[-1]
        lines: Sequence[int] = range(next_line, next_line + len(rows))
        next_line = reader.line_num + 1
        if next_line - lines[0] > len(rows):
            lines = list(accumulate(map(_line_count, rows[:-1]), initial=lines[0]))
        selected = list(map(columns.select, rows)) if {*map(len, rows)} == {columns.width} else None
        if (
            selected is None
            or not isinstance(lines, range)
            or not all(map(str.strip, map(_first_field, selected)))
        ):
            lines, selected = _select_usable(zip(lines, rows, strict=True), columns, problems)
        yield Batch(lines, list(map(_first_field, selected)), _encode(lines, selected, separators))
    if not ends_with_line_break() and last_row and len(last_row) != columns.width:
        raise BadFile(
            "the last line is incomplete; the export may not be finished", next_line - _line_count(last_row)
        )


def _read_rows(reader: "Reader", first_line: int) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        rows.extend(islice(reader, _BATCH_ROWS))
    except csv.Error:
        # The rows before the bad one are in the list: their lines tell where the bad one begins.
        raise BadFile(_BAD_QUOTES, first_line + sum(map(_line_count, rows))) from None
    return rows


def _select_usable(
    rows: Iterable[tuple[int, list[str]]], columns: Columns, problems: ProblemCounts
) -> tuple[list[int], list[tuple[str, ...]]]:
    """Return the lines and fields of the usable rows, in a batch that may hold others."""
    lines: list[int] = []
    selected: list[tuple[str, ...]] = []
    for line, row in rows:
        _check_text(line, row)
        if len(row) != columns.width:
            if row:  # an empty line is no problem
                problems.add(RowProblem.WIDTH, line)
            continue
        fields = columns.select(row)
        if not fields[0].strip():
            problems.add(RowProblem.NO_ID, line)
        elif _line_count(fields[: len(REQUIRED_COLUMNS)]) > 1:
            # A quote that was closed too late has swallowed the lines of other users.
            problems.add(RowProblem.LINE_BREAK, line)
        else:
            lines.append(line)
            selected.append(fields)
    return lines, selected


def _encode(lines: Sequence[int], rows: list[tuple[str, ...]], separators: int) -> list[bytes]:
    """Return the record of each row, which has ``separators`` separators. Raises BadFile."""
    try:
        records = list(map(str.encode, map(FIELD_SEPARATOR.join, rows)))
    except UnicodeEncodeError:
        records = []
    if len(records) < len(rows) or b"".join(records).count(b"\0") != separators * len(records):
        for line, row in zip(lines, rows, strict=True):
            _check_text(line, row)
    return records


def _check_text(line: int, row: Iterable[str]) -> None:
    """Raise BadFile if the row holds a NUL character or bytes that are not UTF-8."""
    text = "".join(row)
    if "\0" in text:
        raise BadFile("a NUL character: the file is not UTF-8, or the export is not finished", line)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadFile("not UTF-8: save the file as UTF-8 (Excel: 'CSV UTF-8')", line) from None


def _line_count(fields: Iterable[str]) -> int:
    """Return the number of lines that a row takes in the file."""
    return 1 + sum(len(_LINE_BREAK.findall(field)) for field in fields)
