"""What an operator sees first of the store: what waits, what is paused, and whose share is reduced."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, func, select

from gatepost.outbox import pauses
from gatepost.outbox.pauses import Pause
from gatepost.outbox.queries import callback_depth
from gatepost.outbox.schema import messages, queues, shares
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction


class WaitingMessages(msgspec.Struct, frozen=True, kw_only=True):
    """The messages of one channel, route and client that have not ended."""

    channel: str
    route: str
    """Empty while it is not decided."""
    client: str
    messages: int
    held: int
    """Those of them that wait for the operator."""
    overdue: float
    """Seconds for which the longest waiting one has been due; 0 where none is."""


class ReducedShare(msgspec.Struct, frozen=True, kw_only=True):
    """An instance of a split route that follows receipts, with less than its configured share."""

    route: str
    country: str
    instance: str
    factor: float
    """The part of its configured share that it has."""
    reason: str


class CallbackOverview(msgspec.Struct, frozen=True, kw_only=True):
    """The callbacks to Smartico that have not ended well."""

    waiting: int
    age: float
    """Seconds since the oldest waiting one became known."""
    dead: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the store that an operator sees first."""

    waiting: Sequence[WaitingMessages]
    callbacks: CallbackOverview
    shares: Sequence[ReducedShare]
    pauses: Sequence[Pause]


def overview(connection: Connection, now: int) -> Overview:
    """Read the overview; ``now`` is in milliseconds since the epoch. It reads nothing of messages that have ended."""
    callbacks = callback_depth(connection, now)
    return Overview(
        waiting=_waiting(connection, now),
        callbacks=CallbackOverview(
            waiting=sum(callbacks.waiting.values()), age=callbacks.age, dead=callbacks.dead
        ),
        shares=_reduced_shares(connection),
        pauses=pauses.in_force(connection, now),
    )


def read(tx: Transaction, items: Sequence[None]) -> list[Overview]:
    """Read the overview in a transaction of the outbox."""
    return [overview(tx.connection, tx.now)] * len(items)


def _waiting(connection: Connection, now: int) -> list[WaitingMessages]:
    query = (
        select(
            messages.c.queue,
            messages.c.state,
            func.count().label("n"),
            func.min(messages.c.due_at).label("due"),
        )
        .where(messages.c.due_at.is_not(None))
        .group_by(messages.c.queue, messages.c.state)
    )
    by_queue: dict[int, list[tuple[str, int, int]]] = {}
    for row in connection.execute(query):
        by_queue.setdefault(row.queue, []).append((row.state, row.n, row.due))
    names = select(queues).order_by(queues.c.channel, queues.c.route, queues.c.client)
    return [
        WaitingMessages(
            channel=row.channel,
            route=row.route,
            client=row.client,
            messages=sum(count for _, count, _ in states),
            held=sum(count for state, count, _ in states if state == State.HELD),
            overdue=max(
                (
                    max(0, now - due) / 1000
                    for state, _, due in states
                    if state in {State.QUEUED, State.SUSPECT}
                ),
                default=0.0,
            ),
        )
        for row in connection.execute(names)
        if (states := by_queue.get(row.id))
    ]


def _reduced_shares(connection: Connection) -> list[ReducedShare]:
    query = (
        select(shares.c.route, shares.c.country, shares.c.instance, shares.c.factor, shares.c.reason)
        .where(shares.c.factor < 1.0)
        .order_by(shares.c.route, shares.c.country, shares.c.instance)
    )
    return [ReducedShare(**row._asdict()) for row in connection.execute(query)]
