"""What every piece of work in the outbox gets: a connection inside a transaction, and the time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, Table
from sqlalchemy.dialects import postgresql, sqlite

from gatepost.outbox.records import Policy

T = TypeVar("T")

CHUNK = 500
"""Ids in one IN list."""


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
        if not self.many_writers:
            inserted = sqlite.insert(table).on_conflict_do_nothing()
            return self.connection.execute(inserted, list(rows)).rowcount
        # The driver does not count for many rows at once, but it gives back what went in.
        returning = postgresql.insert(table).on_conflict_do_nothing().returning(*table.primary_key)
        return len(self.connection.execute(returning, list(rows)).all())

    def locking(self, query: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
        """The query, holding what it reads against other replicas; SQLite has one writer anyway."""
        return query.with_for_update(skip_locked=skip_locked) if self.many_writers else query


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists short enough for one IN."""
    every = list(items)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]
