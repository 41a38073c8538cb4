"""The table of the statistics, which people read, and its forms for programs: CSV and JSON."""

import csv
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from gatepost.model import Status
from gatepost.outbox.statistics_report import Dimension, Group

Cell = str | int | float | Decimal | None
"""A name, a number, a share in percent or a price; None where there is none."""

STATUS = "status"
"""Among the dimensions: a row for each status instead of a column."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""With these a spreadsheet begins a formula."""

_UNKNOWN = {Dimension.ROUTE: "not decided", Dimension.PLUGIN: "none", Dimension.COUNTRY: "not known"}
"""What a person reads for an empty name."""

NO_MESSAGES = "The messages from Smartico are not counted by plugin: when one arrives, no plugin has it yet."
"""Why the column of the messages is empty."""


class Column(NamedTuple):
    """A column: its name for programs, and its title for people."""

    name: str
    title: str
    is_optional: bool = False
    """Whether people see it only where something is in it."""


class Table(NamedTuple):
    """Columns and rows; the first columns, as many as ``names``, hold names."""

    names: int
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def build(groups: Sequence[Group], by: Sequence[str]) -> Table:
    """Return the table of these groups; ``by`` are dimensions, and STATUS for a row for each status."""
    names = [Column(one, one) for one in by]
    if STATUS in by:
        columns = [*names, Column("number", "number"), Column("percent", "%")]
        return Table(len(names), columns, _rows_by_status(groups, by.index(STATUS)))
    currencies = sorted({currency for group in groups for currency in group.prices})
    columns = [*names, *_number_columns(currencies)]
    return Table(len(names), columns, [[*group.key, *_numbers(group, currencies)] for group in groups])


def _rows_by_status(groups: Sequence[Group], place: int) -> list[list[Cell]]:
    order = {status.value: number for number, status in enumerate(Status)}
    rows: list[list[Cell]] = [
        [*group.key[:place], status.value, *group.key[place:], number, _percent(number, group)]
        for group in groups
        for status, number in group.statuses.items()
        if number
    ]

    def key(row: Sequence[Cell]) -> list[Any]:
        return [order[str(cell)] if n == place else cell for n, cell in enumerate(row[:-2])]

    return sorted(rows, key=key)


def _number_columns(currencies: Sequence[str]) -> list[Column]:
    columns = [Column("messages", "messages", is_optional=True), Column("accepted", "accepted")]
    for status in _later_statuses():
        columns += [
            Column(status.value, status.value, is_optional=status is not Status.DELIVERED),
            Column(f"{status.value}_percent", "%", is_optional=status is not Status.DELIVERED),
        ]
    columns.append(Column("parts", "parts (provider)", is_optional=True))
    columns.append(Column("counted_parts", "parts (counted)", is_optional=True))
    return columns + [Column(f"price_{one}".rstrip("_"), f"price {one}".rstrip()) for one in currencies]


def _later_statuses() -> list[Status]:
    return [status for status in Status if status is not Status.ACCEPTED]


def _numbers(group: Group, currencies: Sequence[str]) -> list[Cell]:
    numbers: list[Cell] = [group.messages, group.statuses[Status.ACCEPTED]]
    for status in _later_statuses():
        number = group.statuses[status]
        numbers += [number, _percent(number, group)]
    return [*numbers, group.parts, group.counted_parts, *(group.prices.get(one) for one in currencies)]


def _percent(number: int, group: Group) -> float | None:
    """Return a number as a share of the accepted messages; None where there are none."""
    accepted = group.statuses[Status.ACCEPTED]
    return round(100 * number / accepted, 1) if accepted else None


def as_csv(table: Table) -> str:
    """Return the table as CSV (RFC 4180) that no spreadsheet takes for formulas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows([_csv_cell(cell) for cell in row] for row in table.rows)
    return text.getvalue()


def _csv_cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
    return plain(cell)


def as_json(table: Table) -> list[dict[str, object]]:
    """Return the rows for JSON. A price is a text: a number might be rounded."""
    names = [column.name for column in table.columns]
    return [
        dict(zip(names, (plain(c) if isinstance(c, Decimal) else c for c in row), strict=True))
        for row in table.rows
    ]


def visible(table: Table) -> list[int]:
    """Return the places of the columns that people see."""
    return [
        place
        for place, column in enumerate(table.columns)
        if not column.is_optional or any(row[place] for row in table.rows)
    ]


def readable_name(dimension: str, name: str) -> str:
    """Return a name of this dimension, or of STATUS, for people: it says what an empty one means."""
    if not name:
        return _UNKNOWN.get(Dimension(dimension), "") if dimension != STATUS else ""
    # An hour: with a space it is easier to read.
    return name.replace("T", " ") if dimension == Dimension.HOUR else name


def plain(cell: Cell) -> str:
    """Return a number without separators, and a price exactly, with two decimals at least."""
    if cell is None:
        return ""
    if not isinstance(cell, Decimal):
        return str(cell)
    whole, _, decimals = f"{cell:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
