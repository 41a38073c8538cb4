"""What every piece of work in the outbox gets: a connection inside a transaction, and the time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Dialect, Executable, Insert, Select, Table, UpdateBase, bindparam
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.sql.compiler import SQLCompiler

from gatepost.outbox.records import Policy

T = TypeVar("T")

CHUNK = 500
"""Ids in one IN list."""


IDS: Any = bindparam("ids", expanding=True)
"""The parameter of a statement that is about many rows: ``column.in_(IDS)``."""


class DialectPair(NamedTuple):
    """A statement that was put together once: to do so took longer than to run it.

    It comes in the two forms that the dialects want; made by ``dialect_pair``.
    """

    sqlite: Executable
    """For SQLite, which has one writer anyway."""
    postgresql: Executable
    """For PostgreSQL: holds what it reads against other replicas."""


Locking = Callable[[Select[Any]], Select[Any]]


def dialect_pair(put_together: Callable[[Locking], Executable]) -> DialectPair:
    """The statement that ``put_together`` gives; it is handed what makes a select a locking one."""
    return DialectPair(
        put_together(lambda query: query),
        put_together(lambda query: query.with_for_update()),
    )


@cache
def _insert_new(table: Table, *, many_writers: bool) -> Insert:
    if many_writers:
        # Late: a tenth of the time that a gateway on SQLite needs to start.
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415

        # The driver does not count for many rows at once, but it gives back what went in.
        return postgresql.insert(table).on_conflict_do_nothing().returning(*table.primary_key)
    return sqlite.insert(table).on_conflict_do_nothing()


@cache
def _words(
    statement: UpdateBase, dialect: Dialect, keys: tuple[str, ...]
) -> tuple[str, Sequence[str], Mapping[str, Any]]:
    """A statement as the driver takes it, its parameters' names in their order, and those that are constant."""
    insert = isinstance(statement, Insert)
    compiled = statement.compile(dialect=dialect, column_keys=list(keys) if insert else None)
    assert isinstance(compiled, SQLCompiler)
    names = compiled.positiontup or ()
    return compiled.string, names, {name: compiled.params[name] for name in names if name not in keys}


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction. The two dialects differ in what this class hides and in nothing else."""

    connection: Connection
    now: int
    """Milliseconds since the epoch, by the database's clock."""
    holder: str
    """Who claims: this process, never to be used again by another."""
    policy: Policy

    @property
    def many_writers(self) -> bool:
        """Whether others write at the same time: on PostgreSQL, not on SQLite."""
        return self.connection.dialect.name == "postgresql"

    def after(self, seconds: float) -> int:
        """The time in so many seconds."""
        return self.now + round(seconds * 1000)

    def seconds_until(self, moment: int) -> float:
        """The duration from now until then; negative when it has passed."""
        return (moment - self.now) / 1000

    def insert_new(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert rows, leaving out those that collide; returns how many went in."""
        insert = _insert_new(table, many_writers=self.many_writers)
        if self.many_writers:
            return len(self.connection.execute(insert, list(rows)).all())
        return self.execute_many(insert, rows).rowcount

    def execute_many(self, statement: UpdateBase, rows: Sequence[Mapping[str, Any]]) -> CursorResult[Any]:
        """Run a statement for each of these rows; all of them have the same keys, and there is one at least.

        In the driver's own words and by places: to bind every row by name took as long as to write it.
        """
        text, names, fixed = _words(statement, self.connection.dialect, tuple(rows[0]))
        whole = [{**fixed, **row} for row in rows] if fixed else rows
        if isinstance(statement, Insert) and not self.many_writers:
            return self._insert_at_once(text, names, whole)
        result = self.connection.exec_driver_sql(text, [tuple(row[name] for name in names) for row in whole])
        assert isinstance(result, CursorResult)
        return result

    def _insert_at_once(
        self, text: str, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> CursorResult[Any]:
        """All rows in one statement of SQLite's.

        For each row that is a step of its own SQLite's thread lets go of the interpreter and asks for it
        again, while the loop wants it too: that cost more than the row.
        """
        places = f"({', '.join('?' * len(names))})"
        text = text.replace(places, ", ".join([places] * len(rows)), 1)
        return self.connection.exec_driver_sql(text, tuple(row[name] for row in rows for name in names))

    def execute(self, statement: DialectPair, **parameters: object) -> CursorResult[Any]:
        """Run a statement that was made before."""
        form = statement.postgresql if self.many_writers else statement.sqlite
        result = self.connection.execute(form, parameters)
        assert isinstance(result, CursorResult)
        return result

    def execute_about(
        self, statement: DialectPair, ids: Iterable[Any], **parameters: object
    ) -> Iterator[Any]:
        """The rows that a statement with ``IDS`` gives for these ids."""
        for some in chunks(ids):
            # All at once: to fetch a row releases the interpreter, and others take their turn.
            yield from self.execute(statement, ids=some, **parameters).all()

    def locking(self, query: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
        """The query, holding what it reads against other replicas; SQLite has one writer anyway."""
        return query.with_for_update(skip_locked=skip_locked) if self.many_writers else query


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists short enough for one IN."""
    every = list(items)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]
