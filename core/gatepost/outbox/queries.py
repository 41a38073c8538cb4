"""Looking at the outbox without touching it: for operators, metrics and tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, func, literal_column, select

from gatepost.outbox.records import OUR_ID
from gatepost.outbox.schema import contents, messages, statuses
from gatepost.outbox.states import CallbackState, State

_EVERY: Mapping[str, str] = {}


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits, and since when."""

    messages: Mapping[tuple[str, str], int] = {}
    """Messages not at their end, by channel and state."""
    oldest: Mapping[str, float] = {}
    """Seconds since the longest waiting message became due, queued or suspect, by channel."""
    callbacks: Mapping[str, int] = {}
    """Statuses whose turn it is to be told, by how far they are: queued or calling."""
    callbacks_age: float = 0.0
    """Seconds since the first of these became known; 0 where there is none."""
    callbacks_dead: int = 0
    """Statuses that were given up."""


class StatusView(msgspec.Struct, frozen=True, kw_only=True):
    """One status of a message; times in seconds since the epoch."""

    status: str
    code: str
    recorded_at: float
    callback_state: str
    tries: int
    next_try_at: float | None
    problem: str


class MessageView(msgspec.Struct, frozen=True, kw_only=True, rename=OUR_ID):
    """One message as an operator may see it: nothing of its recipient but Smartico's id."""

    id: str
    client: str
    channel: str
    uid: str
    ext_user_id: str
    state: str
    created_at: float
    due_at: float | None
    expires_at: float
    ended_at: float | None
    tries: int
    deaths: int
    """How often the process died while it had the message in hand."""
    instance: str
    provider_id: str
    reason: str
    code: str
    content_kept: bool
    statuses: Sequence[StatusView]


def depth(connection: Connection, now: int) -> QueueDepth:
    """Counts of what waits and of what was given up.

    Walks indexes that hold nothing else, whatever has piled up behind it; ask every few seconds at most.
    """
    queue = (
        select(messages.c.channel, messages.c.state, func.count(), func.min(messages.c.due_at))
        .where(messages.c.due_at.is_not(None))
        .group_by(messages.c.channel, messages.c.state)
    )
    counts: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    for channel, state, count, due_at in connection.execute(queue):
        counts[channel, state] = count
        if state in {State.QUEUED, State.SUSPECT}:
            oldest[channel] = max(oldest.get(channel, 0.0), (now - due_at) / 1000)
    calls = connection.execute(_calls).all()
    first = min((row.first for row in calls), default=None)
    recorded_at = connection.execute(_recorded, {"first": first}).scalar() if calls else None
    return QueueDepth(
        messages=counts,
        oldest=oldest,
        callbacks={row.callback_state: row.n for row in calls},
        callbacks_age=max(0.0, (now - recorded_at) / 1000) if recorded_at is not None else 0.0,
        callbacks_dead=connection.execute(_dead).scalar_one(),
    )


_calls = (
    select(statuses.c.callback_state, func.count().label("n"), func.min(statuses.c.seq).label("first"))
    .where(statuses.c.due_at.is_not(None))
    .group_by(statuses.c.callback_state)
)
_recorded = select(statuses.c.recorded_at).where(statuses.c.seq == bindparam("first"))
# The word itself and no parameter: only then is it known beforehand that the index has them all.
_dead = select(func.count()).where(
    statuses.c.callback_state == literal_column(f"'{CallbackState.DEAD.value}'")
)


def list_messages(
    connection: Connection,
    *,
    states: Sequence[State] = (),
    dead: bool = False,
    only: Mapping[str, str] = _EVERY,
    most: int = 50,
) -> list[MessageView]:
    """The newest messages first; only of these states, or only those with a dead callback.

    ``only``: columns of a message and what has to stand in them.
    """
    query = select(messages).order_by(messages.c.id.desc()).limit(most)
    for column, wanted in only.items():
        query = query.where(messages.c[column] == wanted)
    if states:
        query = query.where(messages.c.state.in_([state.value for state in states]))
    if dead:
        query = query.where(
            messages.c.id.in_(
                select(statuses.c.message_id).where(statuses.c.callback_state == CallbackState.DEAD.value)
            )
        )
    return _views(connection, query)


def known_by(connection: Connection, identity: str, most: int = 10) -> list[MessageView]:
    """By ext_message_id, or else by Smartico's uid, or else by the provider's id; the newest first.

    By the last two it may be several: a uid is one client's on one channel, a provider's id one instance's.
    """
    for column in (messages.c.id, messages.c.uid, messages.c.provider_id):
        query = select(messages).where(column == identity).order_by(messages.c.id.desc()).limit(most)
        if views := _views(connection, query):
            return views
    return []


def _views(connection: Connection, query: Select[Any]) -> list[MessageView]:
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    told: dict[str, list[StatusView]] = {identity: [] for identity in ids}
    for row in connection.execute(
        select(statuses).where(statuses.c.message_id.in_(ids)).order_by(statuses.c.seq)
    ):
        told[row.message_id].append(
            StatusView(
                status=row.status,
                code=row.code,
                recorded_at=row.recorded_at / 1000,
                callback_state=row.callback_state,
                tries=row.attempt,
                next_try_at=_seconds(row.due_at),
                problem=row.problem,
            )
        )
    kept = set(
        connection.execute(select(contents.c.message_id).where(contents.c.message_id.in_(ids))).scalars()
    )
    return [
        MessageView(
            id=row.id,
            client=row.client,
            channel=row.channel,
            uid=row.uid,
            ext_user_id=row.ext_user_id,
            state=row.state,
            created_at=row.created_at / 1000,
            due_at=_seconds(row.due_at),
            expires_at=row.expires_at / 1000,
            ended_at=_seconds(row.ended_at),
            tries=row.attempt,
            deaths=row.deaths,
            instance=row.instance,
            provider_id=row.provider_id or "",
            reason=row.reason,
            code=row.code,
            content_kept=row.id in kept,
            statuses=told[row.id],
        )
        for row in rows
    ]


def _seconds(moment: int | None) -> float | None:
    return None if moment is None else moment / 1000
