"""The table of ``gatepost stats`` as text."""

from collections.abc import Callable

from gatepost.cli.common import printable
from gatepost.outbox.statistics_table import Cell, Table, plain, readable_name, visible


def as_text(table: Table) -> str:
    """Return the table for people, a line for each row."""
    lines = [[column.title for column in table.columns]]
    lines += [
        [
            printable(readable_name(table.columns[place].name, str(cell)))
            if place < table.names
            else _readable(cell)
            for place, cell in enumerate(row)
        ]
        for row in table.rows
    ]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.columns))]

    def pad(place: int) -> Callable[[str, int], str]:
        return str.ljust if place < table.names else str.rjust

    shown = visible(table)
    return "\n".join(
        "  ".join(pad(place)(line[place], widths[place]) for place in shown).rstrip() for line in lines
    )


def _readable(cell: Cell) -> str:
    return f"{cell:,}" if isinstance(cell, int) else plain(cell)
