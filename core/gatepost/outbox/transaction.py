"""What every work function of the outbox gets: a connection inside a transaction, the time, the policy."""

import time
from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import Connection, Executable, Insert, Select, Table, UpdateBase, select
from sqlalchemy.dialects import sqlite

from gatepost.outbox.driver_statement import Answer, DriverStatement, driver_statement, run, run_many
from gatepost.outbox.new_rows import MAX_PARAMETERS, NewRows
from gatepost.outbox.one_of import one_of
from gatepost.outbox.records import NewStatus, Policy

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql as postgresql_dialect

T = TypeVar("T")

Record: TypeAlias = Any
"""A row as a named tuple, with an attribute for each column."""

MAX_IDS = 500
"""Ids of one statement."""


class DialectPair(NamedTuple):
    """A statement in one form per dialect, built once by ``dialect_pair``: building it takes longer than running it."""

    sqlite: Executable
    """For SQLite, which has a single writer and needs no row locks."""
    postgresql: Executable
    """For PostgreSQL: it locks the rows that it reads against other replicas."""


CounterKey = tuple[int, str]
"""What identifies a counter: the beginning of its period, or 0 if it has none, and its scope."""


class StatisticsKey(NamedTuple):
    """What identifies a number of the statistics."""

    period: int
    """The beginning of an hour or a day, in milliseconds since the epoch."""
    queue: int
    country: str
    instance: str
    counted: str


AddLock = Callable[[Select[Any]], Select[Any]]
"""A function that returns a select with row locks; for SQLite it returns the select unchanged."""


def dialect_pair(build: Callable[[AddLock], Executable]) -> DialectPair:
    """Return both forms of a statement; ``build`` returns one of them, with the AddLock of its dialect."""
    return DialectPair(build(lambda query: query), build(lambda query: query.with_for_update()))


def _insert(table: Table, *, postgresql: bool) -> "sqlite.Insert | postgresql_dialect.Insert":
    if postgresql:
        # Imported late: it would add a tenth to the time in which a gateway on SQLite starts.
        from sqlalchemy.dialects import postgresql as dialect  # noqa: PLC0415

        return dialect.insert(table)
    return sqlite.insert(table)


@cache
def _insert_new(table: Table, *, postgresql: bool) -> Insert:
    insert: Insert = _insert(table, postgresql=postgresql).on_conflict_do_nothing()
    # PostgreSQL's driver returns no row count for many rows at once, so the statement returns the inserted keys.
    return insert.returning(*table.primary_key) if postgresql else insert


@cache
def _add_up(table: Table, *, postgresql: bool) -> Insert:
    insert = _insert(table, postgresql=postgresql)
    total = table.c.value + insert.excluded.value
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_={"value": total})


@cache
def _record_maker(columns: tuple[str, ...]) -> Callable[[Iterable[Any]], Record]:
    # typing.NamedTuple needs the names in the source.
    return partial(tuple.__new__, namedtuple("Record", columns))  # noqa: PYI024


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction. This class hides every difference between the two dialects."""

    connection: Connection
    now: int
    """Milliseconds since the epoch, by the database's clock."""
    holder: str
    """The id of this process, written into its claims; no other process ever has the same."""
    policy: Policy
    shard: str = ""
    """The shard of the counters to which this transaction adds."""
    counter_changes: dict[CounterKey, int] = field(default_factory=dict)
    """How much this transaction changes each counter; written at its end."""
    statistics_changes: dict[StatisticsKey, int] = field(default_factory=dict)
    """What this transaction adds to the statistics; written at its end."""
    audit_rows: list[dict[str, Any]] = field(default_factory=list)
    """The entries that this transaction appends to the audit log; written at its end."""
    new_statuses: list[tuple[Record, NewStatus]] = field(default_factory=list)
    """The statuses that this transaction adds, with the row of their message."""
    read_at: float = field(default_factory=time.monotonic)
    """When ``now`` was read, by this process's monotonic clock."""

    @property
    def on_postgresql(self) -> bool:
        """Whether other replicas write at the same time: on PostgreSQL, not on SQLite."""
        return self.connection.dialect.name == "postgresql"

    def after(self, seconds: float) -> int:
        """Return the time ``seconds`` from now."""
        return self.now + round(seconds * 1000)

    def seconds_until(self, moment: int) -> float:
        """Return the seconds from now until ``moment``; negative when it has passed."""
        return (moment - self.now) / 1000

    def insert_new(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the rows that collide with no other; return how many were inserted."""
        insert = _insert_new(table, postgresql=self.on_postgresql)
        if self.on_postgresql:
            return len(self.connection.execute(insert, list(rows)).all())
        return self.execute_many(insert, rows)

    def insert_new_ids(self, table: NewRows, rows: Sequence[Sequence[Any]]) -> Collection[str]:
        """Insert the rows that collide with no other; return their ids, which are the first values of the rows."""
        if self.on_postgresql:
            # The same rows may be there from this very work, if it is repeated after a lost connection.
            arrays = tuple(map(list, zip(*rows, strict=True)))
            return {key for (key,) in run(self.connection, table.postgresql, arrays).rows}
        ids = [row[0] for row in rows]
        count = sum(
            run(self.connection, table.sqlite(len(part)), tuple(chain.from_iterable(part))).row_count
            for part in table.parts(rows)
        )
        if count == len(rows):
            return ids
        key = table.table.c[table.names[0]]
        return {
            one
            for chunk in id_chunks(ids)
            for one in self.connection.execute(select(key).where(one_of(key, chunk))).scalars()
        }

    def add_up(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows; add the ``value`` of a row whose key exists to the value that is there."""
        self.execute_many(_add_up(table, postgresql=self.on_postgresql), rows)

    def execute_many(self, statement: UpdateBase, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run a statement once per row; return how many rows it changed, which is known on SQLite alone.

        There is at least one row, and all rows have the same keys.
        """
        insert = isinstance(statement, Insert)
        compiled = driver_statement(statement, self.connection.dialect, tuple(rows[0]) if insert else None)
        if insert and not self.on_postgresql:
            return self._insert_at_once(compiled, rows)
        return run_many(self.connection, compiled.text, list(map(compiled.bind, rows))).row_count

    def _insert_at_once(self, compiled: DriverStatement, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert all rows with one SQLite statement, or with a few where that would have too many parameters.

        With one statement per row, SQLite's thread released and reacquired the interpreter for each of them, while
        the event loop wanted it too: that cost more than the row itself.
        """
        places = f"({', '.join('?' * compiled.parameter_count)})"
        size = MAX_PARAMETERS // compiled.parameter_count
        count = 0
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            text = compiled.text.replace(places, ", ".join([places] * len(part)), 1)
            count += run(
                self.connection, text, tuple(chain.from_iterable(map(compiled.bind, part)))
            ).row_count
        return count

    def execute(self, statement: DialectPair, **parameters: object) -> int:
        """Run the statement in this dialect's form; return how many rows it changed."""
        return self._run(statement, parameters).row_count

    def fetch(self, statement: DialectPair, **parameters: object) -> list[Record]:
        """Run the statement in this dialect's form; return its rows."""
        answer = self._run(statement, parameters)
        return list(map(_record_maker(answer.columns), answer.rows))

    def _run(self, statement: DialectPair, parameters: Mapping[str, object]) -> Answer:
        form = statement.postgresql if self.on_postgresql else statement.sqlite
        compiled = driver_statement(form, self.connection.dialect)
        return run(self.connection, compiled.text, compiled.bind(parameters))

    def select_by_ids(
        self, statement: DialectPair, ids: Iterable[Any], **parameters: object
    ) -> Iterator[Record]:
        """Yield the rows that a statement with ``IDS`` returns for these ids."""
        for chunk in id_chunks(ids):
            yield from self.fetch(statement, ids=chunk, **parameters)

    def with_lock(self, query: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
        """Return the query with row locks against other replicas; on SQLite unchanged."""
        return query.with_for_update(skip_locked=skip_locked) if self.on_postgresql else query


def id_chunks(ids: Iterable[T]) -> Iterator[list[T]]:
    """Yield the ids in lists short enough for one statement."""
    all_ids = list(ids)
    for start in range(0, len(all_ids), MAX_IDS):
        yield all_ids[start : start + MAX_IDS]
