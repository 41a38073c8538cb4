"""The queues: one for each channel, route and client, so that claims can be fair between them."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, exists, func, select

from gatepost.model import Channel
from gatepost.outbox.records import Queue
from gatepost.outbox.schema import messages, queues
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction

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


_is_due = exists().where(
    messages.c.queue == queues.c.id,
    messages.c.state == bindparam("in_state"),
    messages.c.due_at <= bindparam("now"),
)
_due_queues = _select_all.where(_is_due)


def due_queues(tx: Transaction, states: Sequence[State]) -> list[list[Queue]]:
    """Return for each state, QUEUED or SUSPECT, the queues in which a message is due in this state."""
    return [
        _queues(tx.connection.execute(_due_queues, {"in_state": state.value, "now": tx.now}))
        for state in states
    ]


def _queues(rows: Iterable[Row[Any]]) -> list[Queue]:
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
