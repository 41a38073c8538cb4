"""The queues: one for each channel, route and client, so that claims can be fair between them."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, TextClause, bindparam, func, select, text

from gatepost.model import Channel
from gatepost.outbox.json_rows import encoded_rows, json_rows
from gatepost.outbox.records import Queue
from gatepost.outbox.schema import messages, queues
from gatepost.outbox.states import State
from gatepost.outbox.transaction import DialectPair, Record, Transaction

QueueName = tuple[Channel, str, str]
"""The channel, route and client of a queue."""

_select_all = select(queues.c.id, queues.c.channel, queues.c.route, queues.c.client)


def add_queues(tx: Transaction, names: Sequence[QueueName]) -> dict[QueueName, Queue]:
    """Add each queue unless it exists; return all queues, by name."""
    rows = [{"channel": channel.value, "route": route, "client": client} for channel, route, client in names]
    tx.insert_new(queues, rows)
    return {(queue.channel, queue.route, queue.client): queue for queue in all_queues(tx.connection)}


def all_queues(connection: Connection) -> list[Queue]:
    """Return all queues, the oldest first."""
    return _queues(connection.execute(_select_all.order_by(queues.c.id)))


def any_queue(*, postgresql: bool) -> ColumnElement[bool]:
    """Return a condition that is true for every message.

    It is stated because the index on due times begins with the queue.
    """
    ids = select(queues.c.id)
    if postgresql:
        # Not IN: as a join it might be planned without the index.
        return messages.c.queue == func.any(func.array(ids.scalar_subquery()))
    return messages.c.queue.in_(ids)


class DueQuestion(NamedTuple):
    """The question for the queues in which a message is due."""

    state: State
    """QUEUED or SUSPECT."""
    min_due_at: Mapping[int, int]
    """By queue, from which due time its messages count; those of other queues all count."""


def _select_due(*, postgresql: bool) -> TextClause:
    """Return the query for the queues with a due message.

    A subquery with a limit, not EXISTS: PostgreSQL would join that, and with a plan from when the table was empty it would
    read all that waits.
    """
    reached = json_rows("reached", {"queue": "INTEGER", "min_due_at": "BIGINT"}, postgresql=postgresql)
    return text(
        "SELECT queues.id, queues.channel, queues.route, queues.client "  # noqa: S608  constants
        f"FROM queues LEFT JOIN {reached} AS reached ON reached.queue = queues.id "
        "WHERE (SELECT 1 FROM messages WHERE messages.queue = queues.id AND messages.state = :in_state "
        "AND messages.due_at >= COALESCE(reached.min_due_at, 0) AND messages.due_at <= :now LIMIT 1) = 1"
    ).bindparams(bindparam("now", type_=BigInteger))


_due_queues = DialectPair(_select_due(postgresql=False), _select_due(postgresql=True))


def due_queues(tx: Transaction, questions: Sequence[DueQuestion]) -> list[list[Queue]]:
    """Return for each question the queues in which a message is due."""
    return [
        _queues(
            tx.fetch(
                _due_queues,
                reached=encoded_rows(one.min_due_at.items()),
                in_state=one.state.value,
                now=tx.now,
            )
        )
        for one in questions
    ]


def _queues(rows: Iterable[Record]) -> list[Queue]:
    return [Queue(row.id, Channel(row.channel), row.route, row.client) for row in rows]


class QueueSignals:
    """What the worker has to know between two claims: that messages may be due, and in which queues."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        """Set when a message may be due, or a slot is free."""
        self._queues: set[Queue] = set()
        self._rescan = True

    def add(self, queue: Queue) -> None:
        """Note that a message is due in this queue."""
        self._queues.add(queue)
        self.event.set()

    def request_rescan(self) -> None:
        """Note that messages may be due in any queue."""
        self._rescan = True
        self.event.set()

    def take(self) -> tuple[Collection[Queue], bool]:
        """Return the queues noted since the last call, and whether any other may have a due message."""
        taken = self._queues, self._rescan
        self._queues, self._rescan = set(), False
        return taken
