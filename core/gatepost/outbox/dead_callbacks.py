"""The callbacks that were given up: dead letters, which an operator sees and makes again."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, select, tuple_

from gatepost.outbox.callbacks import has_state
from gatepost.outbox.one_of import one_of
from gatepost.outbox.schema import statuses
from gatepost.outbox.states import CallbackState


class Place(NamedTuple):
    """Where a page of dead letters begins: after this one."""

    client: str
    target: str
    seq: int


class DeadCallback(msgspec.Struct, frozen=True, kw_only=True):
    """A callback that was given up; times in seconds since the epoch."""

    seq: int
    message_id: str
    status: str
    client: str
    target: str
    """``host:port`` of the callback URL."""
    recorded_at: float
    called_at: float | None
    """When the last call ended."""
    http_status: int
    """Of its answer; 0: there was none."""
    problem: str


class Selection(NamedTuple):
    """Some dead letters: those that an operator has seen, and who gave up until then."""

    until: int
    """The moment in milliseconds since the epoch until which they were given up."""
    clients: Sequence[str] = ()
    """Of these clients; empty: of all."""
    target: str = ""
    """To this host; empty: to all."""
    with_late: bool = False
    """Also those that failed and wait for their next attempt."""


_dead = has_state(CallbackState.DEAD)

_late = statuses.c.due_at.is_not(None) & has_state(CallbackState.QUEUED) & (statuses.c.attempt > 0)


def page(
    connection: Connection,
    limit: int,
    *,
    clients: Sequence[str] = (),
    target: str = "",
    after: Place | None = None,
) -> list[DeadCallback]:
    """Return dead letters by client and host, the oldest first; of these clients, to this host, after this place."""
    order = statuses.c.client, statuses.c.target, statuses.c.seq
    query = select(statuses).where(_dead, *_of(clients, target)).order_by(*order).limit(limit)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*after))
    return [
        DeadCallback(
            seq=row.seq,
            message_id=row.message_id,
            status=row.status,
            client=row.client,
            target=row.target,
            recorded_at=row.recorded_at / 1000,
            called_at=None if row.called_at is None else row.called_at / 1000,
            http_status=row.http_status,
            problem=row.problem,
        )
        for row in connection.execute(query)
    ]


def selected_ids(connection: Connection, selection: Selection, limit: int) -> list[str]:
    """Return ids of messages with dead letters of a selection, and with those callbacks that it means besides."""
    # It was given up when its last call ended.
    given_up_at = func.coalesce(statuses.c.called_at, statuses.c.recorded_at)
    conditions = [_dead & (given_up_at <= selection.until), *([_late] if selection.with_late else [])]
    ids: dict[str, None] = {}
    for condition in conditions:
        chosen = and_(condition, *_of(selection.clients, selection.target))
        query = select(statuses.c.message_id).where(chosen).distinct().limit(limit - len(ids))
        ids |= dict.fromkeys(connection.execute(query).scalars())
    return [*ids]


def _of(clients: Sequence[str], target: str) -> list[ColumnElement[bool]]:
    conditions = [one_of(statuses.c.client, list(clients))] if clients else []
    return [*conditions, statuses.c.target == target] if target else conditions
