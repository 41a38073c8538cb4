"""What an operator sees first of the store: what waits, what is paused, whose share is reduced, and which cap is near."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, Row, func, literal_column, select

from gatepost.model import Channel
from gatepost.outbox import limits, pauses, replicas, store_size, warmups
from gatepost.outbox.limits import UsedLimit
from gatepost.outbox.one_of import one_of
from gatepost.outbox.pauses import Pause
from gatepost.outbox.records import Limit, Queue
from gatepost.outbox.replicas import Replica
from gatepost.outbox.schema import messages, queues, shares, statuses
from gatepost.outbox.states import CallbackState, State
from gatepost.outbox.store_size import StoreSize
from gatepost.outbox.warmups import WarmupView

NEAR = 0.8
"""The part of a limit from which on it is near its end."""


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
    paused: bool
    """Whether all of them wait for the end of a pause."""


class ReducedShare(msgspec.Struct, frozen=True, kw_only=True):
    """An instance of a split route that follows receipts, with less than its configured share."""

    route: str
    country: str
    instance: str
    factor: float
    """The part of its configured share that it has."""
    reason: str


class TargetCallbacks(msgspec.Struct, frozen=True, kw_only=True):
    """The callbacks of one client to one host that have not ended well."""

    client: str
    target: str
    """``host:port`` of the callback URL."""
    waiting: int
    dead: int


class CallbackOverview(msgspec.Struct, frozen=True, kw_only=True):
    """The callbacks to Smartico that have not ended well."""

    waiting: int
    age: float
    """Seconds since the oldest waiting one became known."""
    dead: int
    targets: Sequence[TargetCallbacks]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the store that an operator sees first."""

    read_at: float
    """Seconds since the epoch, by the clock of the store."""
    waiting: Sequence[WaitingMessages]
    callbacks: CallbackOverview
    shares: Sequence[ReducedShare]
    pauses: Sequence[Pause]
    limits: Sequence[UsedLimit]
    """Those of which at least the part NEAR is used."""
    size: StoreSize
    replicas: Sequence[Replica]
    warmups: Sequence[WarmupView]


def overview(connection: Connection, now: int, configured: Mapping[str, Limit]) -> Overview:
    """Read the overview; ``now`` is in milliseconds since the epoch. It reads nothing of messages that have ended.

    ``configured`` are the limits of clients and routes, by their keys in the configuration.
    """
    in_force = pauses.in_force(connection, now)
    return Overview(
        read_at=now / 1000,
        waiting=_waiting(connection, now, in_force),
        callbacks=callback_overview(connection, now),
        shares=reduced_shares(connection),
        pauses=in_force,
        limits=[one for one in limits.used(connection, now, configured) if one.used >= NEAR * one.cap],
        size=store_size.find(connection, now),
        replicas=replicas.find(connection, now),
        warmups=warmups.find(connection),
    )


_count_waiting = (
    select(
        statuses.c.client, statuses.c.target, func.count().label("n"), func.min(statuses.c.seq).label("first")
    )
    .where(statuses.c.due_at.is_not(None))
    .group_by(statuses.c.client, statuses.c.target)
)
# A literal, not a parameter: only then does the planner know beforehand that the partial index has all these rows.
_count_dead = (
    select(statuses.c.client, statuses.c.target, func.count().label("n"))
    .where(statuses.c.callback_state == literal_column(f"'{CallbackState.DEAD.value}'"))
    .group_by(statuses.c.client, statuses.c.target)
)


def callback_overview(connection: Connection, now: int, clients: Sequence[str] = ()) -> CallbackOverview:
    """Return how many callbacks wait or were given up, by host; of these clients, or of all."""
    count_waiting, count_dead = _count_waiting, _count_dead
    if clients:
        owned = one_of(statuses.c.client, list(clients))
        count_waiting, count_dead = count_waiting.where(owned), count_dead.where(owned)
    waiting = {(row.client, row.target): row for row in connection.execute(count_waiting)}
    dead = {(row.client, row.target): row.n for row in connection.execute(count_dead)}
    return CallbackOverview(
        waiting=sum(row.n for row in waiting.values()),
        age=_age(connection, now, list(waiting.values())),
        dead=sum(dead.values()),
        targets=[
            TargetCallbacks(
                client=client,
                target=target,
                waiting=waiting[client, target].n if (client, target) in waiting else 0,
                dead=dead.get((client, target), 0),
            )
            for client, target in sorted(waiting.keys() | dead.keys())
        ],
    )


def _age(connection: Connection, now: int, waiting: Sequence[Row[tuple[str, str, int, int]]]) -> float:
    """Return the seconds since the oldest waiting callback became known."""
    if not waiting:
        return 0.0
    first = min(row.first for row in waiting)
    recorded: int = connection.execute(
        select(statuses.c.recorded_at).where(statuses.c.seq == first)
    ).scalar_one()
    return max(0.0, (now - recorded) / 1000)


def _waiting(connection: Connection, now: int, in_force: Sequence[Pause]) -> list[WaitingMessages]:
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
            paused=any(pause.scope.matches(queue, "") for pause in in_force),
        )
        for row in connection.execute(names)
        if (states := by_queue.get(row.id))
        for queue in (Queue(row.id, Channel(row.channel), row.route, row.client),)
    ]


def reduced_shares(connection: Connection) -> list[ReducedShare]:
    """Return the instances with less than their configured share."""
    query = (
        select(shares.c.route, shares.c.country, shares.c.instance, shares.c.factor, shares.c.reason)
        .where(shares.c.factor < 1.0)
        .order_by(shares.c.route, shares.c.country, shares.c.instance)
    )
    return [ReducedShare(**row._asdict()) for row in connection.execute(query)]
