"""Statements that insert many new rows at once, for the tables that every message is written to.

SQLAlchemy puts a statement for many rows together anew for each number of rows, and binds each value by its name: that
took longer than the database needs to insert them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import LargeBinary, Table

MAX_PARAMETERS = 32_766
"""Parameters of one SQLite statement: the limit of SQLite itself, which Debian's build raises to 250,000."""

NO_CONSTANTS: Mapping[str, str | int] = {}


class NewRows:
    """Rows for a table, of which those are inserted that collide with no other."""

    def __init__(
        self,
        table: Table,
        names: Sequence[str],
        constants: Mapping[str, str | int] = NO_CONSTANTS,
        *,
        may_collide: bool = True,
    ) -> None:
        """``names`` are the columns whose values each row has, first its key; the ``constants`` are the same in all rows.

        Other columns are NULL. Without ``may_collide`` a row that collides fails the statement.
        """
        self._end = " ON CONFLICT DO NOTHING" if may_collide else ""
        self.table = table
        self.names = names
        columns = ", ".join([*names, *constants])
        values = [*map(_literal, constants.values())]
        self._begin = f"INSERT INTO {table.name} ({columns}) VALUES "  # noqa: S608  names and constants of this package
        self._row = f"({', '.join(['?'] * len(names) + values)})"
        arrays = ", ".join(
            f"${place}::{_postgresql_type(table, name)}[]" for place, name in enumerate(names, start=1)
        )
        self.postgresql = (
            f"INSERT INTO {table.name} ({columns}) SELECT {', '.join([*names, *values])} "  # noqa: S608  as above
            f"FROM unnest({arrays}) AS new ({', '.join(names)}){self._end} RETURNING {names[0]}"
        )
        """For PostgreSQL, with the values of each column as one array: the same statement for any number of rows."""

    def sqlite(self, count: int) -> str:
        """Return the statement for this number of rows, for SQLite.

        With one statement per row, SQLite's thread would release and reacquire the interpreter for each of them, while the
        event loop wants it too: that cost more than the row itself.
        """
        return self._begin + ", ".join([self._row] * count) + self._end

    def parts(self, rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield the rows in parts small enough for one statement of SQLite."""
        size = MAX_PARAMETERS // len(self.names)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def _postgresql_type(table: Table, name: str) -> str:
    column_type = table.c[name].type
    # Not by the dialect of PostgreSQL, which would have to be imported on SQLite too.
    return "BYTEA" if isinstance(column_type, LargeBinary) else column_type.compile()


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
