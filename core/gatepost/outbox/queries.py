"""Reads of the outbox that change nothing: for operators, metrics and tests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, func, literal_column, select

from gatepost.model import Channel
from gatepost.outbox.one_of import one_of
from gatepost.outbox.records import OUR_ID
from gatepost.outbox.schema import attempts, contents, messages, queues, statuses
from gatepost.outbox.states import CallbackState, State
from gatepost.outbox.transaction import Transaction


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages and callbacks wait, and for how long."""

    messages: Mapping[tuple[str, str], int] = {}
    """Messages not in a final state, by channel and state."""
    oldest: Mapping[str, float] = {}
    """Seconds since the longest waiting message (queued or suspect) became due, by channel."""
    callbacks: Mapping[str, int] = {}
    """Callbacks that are queued or calling, by callback state."""
    callbacks_age: float = 0.0
    """Seconds since the oldest of these statuses became known; 0 without any."""
    callbacks_dead: int = 0
    """Callbacks that were given up."""


class CallbackDepth(msgspec.Struct, frozen=True, kw_only=True):
    """How many callbacks wait, for how long, and how many were given up; as in QueueDepth."""

    waiting: Mapping[str, int]
    age: float
    dead: int


class StatusView(msgspec.Struct, frozen=True, kw_only=True):
    """One status of a message; times in seconds since the epoch."""

    status: str
    code: str
    recorded_at: float
    reporter: str
    """The instance that reported it; empty where it follows from the answer to a send, or the gateway decided it."""
    callback_state: str
    target: str
    """``host:port`` that is called."""
    attempts: int
    called_at: float | None
    """When the last call ended."""
    http_status: int
    """The HTTP status of the last answer; 0 without one."""
    next_attempt_at: float | None
    problem: str


class TryView(msgspec.Struct, frozen=True, kw_only=True):
    """One try to send a message through one instance."""

    attempt: int
    instance: str
    choice: str
    """Why this instance was chosen, where the route had a choice."""
    outcome: str
    provider_id: str
    reason: str
    code: str
    started_at: float
    """Seconds since the epoch."""
    duration: float
    """Seconds."""
    parts: int
    """The parts of a text message, as the provider counts them; 0 where it did not say."""
    counted_parts: int
    """The parts as the gateway counts them, where the provider took the message and did not say; else 0."""
    not_gsm7: str
    """The first character that the GSM alphabet does not have, for which each part has fewer; empty without one."""
    price: str
    """What the provider says that it costs, a decimal number; may be empty, as may the currency."""
    currency: str


class MessageView(msgspec.Struct, frozen=True, kw_only=True, rename=OUR_ID):
    """One message as an operator may see it: of its recipient only Smartico's id."""

    id: str
    client: str
    channel: str
    route: str
    """Empty while it is not decided."""
    country: str
    """Of the recipient's number, where it is known."""
    uid: str
    ext_user_id: str
    state: str
    created_at: float
    due_at: float | None
    expires_at: float
    ended_at: float | None
    attempts: int
    deaths: int
    """How often the process died while it was sending the message."""
    instance: str
    reason: str
    code: str
    has_content: bool
    """Whether the content is stored; it is erased as soon as no further try can need it."""
    tries: Sequence[TryView]
    statuses: Sequence[StatusView]


def depth(connection: Connection, now: int) -> QueueDepth:
    """Count what waits and what was given up.

    It reads indexes that hold nothing else, so finished rows cost nothing; call it every few seconds at most.
    """
    queue = (
        select(messages.c.queue, messages.c.state, func.count(), func.min(messages.c.due_at))
        .where(messages.c.due_at.is_not(None))
        .group_by(messages.c.queue, messages.c.state)
    )
    channels = {row.id: row.channel for row in connection.execute(select(queues.c.id, queues.c.channel))}
    counts: Counter[tuple[str, str]] = Counter()
    oldest: dict[str, float] = {}
    for queue_id, state, count, due_at in connection.execute(queue):
        channel = channels[queue_id]
        counts[channel, state] += count
        if state in {State.QUEUED, State.SUSPECT}:
            oldest[channel] = max(oldest.get(channel, 0.0), (now - due_at) / 1000)
    callbacks = callback_depth(connection, now)
    return QueueDepth(
        messages=counts,
        oldest=oldest,
        callbacks=callbacks.waiting,
        callbacks_age=callbacks.age,
        callbacks_dead=callbacks.dead,
    )


def callback_depth(connection: Connection, now: int) -> CallbackDepth:
    """Count the callbacks that wait and those that were given up."""
    rows = connection.execute(_count_callbacks).all()
    first = min((row.first for row in rows), default=None)
    recorded_at = connection.execute(_recorded_at, {"first": first}).scalar() if rows else None
    return CallbackDepth(
        waiting={row.callback_state: row.n for row in rows},
        age=max(0.0, (now - recorded_at) / 1000) if recorded_at is not None else 0.0,
        dead=connection.execute(_count_dead).scalar_one(),
    )


def depths(tx: Transaction, items: Sequence[None]) -> list[QueueDepth]:
    """Return the depth for each of these calls."""
    return [depth(tx.connection, tx.now)] * len(items)


_count_callbacks = (
    select(statuses.c.callback_state, func.count().label("n"), func.min(statuses.c.seq).label("first"))
    .where(statuses.c.due_at.is_not(None))
    .group_by(statuses.c.callback_state)
)
_recorded_at = select(statuses.c.recorded_at).where(statuses.c.seq == bindparam("first"))
# A literal, not a parameter: only then does the planner know beforehand that the partial index has all these rows.
_count_dead = select(func.count()).where(
    statuses.c.callback_state == literal_column(f"'{CallbackState.DEAD.value}'")
)


def find_messages(
    connection: Connection, identity: str, limit: int = 10, *, of_clients: Sequence[str] = ()
) -> list[MessageView]:
    """Return the message with this ext_message_id, or else those with this uid, or else with this provider's id.

    With ``of_clients`` only messages of these clients count.
    A uid or a provider's id may belong to several messages (a uid is unique per client and channel, a provider's id
    per instance): the newest come first.
    """
    # The columns with which the indexes on these ids begin are stated too.
    clients = of_clients or list(connection.execute(select(queues.c.client).distinct()).scalars())
    channels = [channel.value for channel in Channel]
    of_uid = one_of(messages.c.client, clients) & one_of(messages.c.channel, channels)
    of_uid &= messages.c.uid == identity
    of_try = select(attempts.c.message_id).where(
        one_of(attempts.c.instance, _instances(connection)), attempts.c.provider_id == identity
    )
    for found in (messages.c.id == identity, of_uid, messages.c.id.in_(of_try)):
        query = select(messages).where(found).order_by(messages.c.id.desc()).limit(limit)
        if of_clients:
            query = query.where(one_of(messages.c.client, of_clients))
        if views := _views(connection, query):
            return views
    return []


def _instances(connection: Connection) -> list[str]:
    """Return the instances with a provider's id, each found in the index after the one before."""
    next_one = select(func.min(attempts.c.instance)).where(attempts.c.provider_id.is_not(None))
    found = [""]
    while name := connection.execute(next_one.where(attempts.c.instance > found[-1])).scalar():
        found.append(name)
    return found[1:]


def views_of_ids(connection: Connection, ids: Sequence[str]) -> list[MessageView]:
    """Return these messages in the order of their ids, which is that of their acceptance."""
    return _views(connection, select(messages).where(one_of(messages.c.id, ids)).order_by(messages.c.id))


def _views(connection: Connection, query: Select[Any]) -> list[MessageView]:
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    views = _status_views(connection, ids)
    tries = _try_views(connection, ids)
    routes = {row.id: row.route for row in connection.execute(select(queues.c.id, queues.c.route))}
    with_content = set(
        connection.execute(select(contents.c.message_id).where(one_of(contents.c.message_id, ids))).scalars()
    )
    return [
        MessageView(
            id=row.id,
            client=row.client,
            channel=row.channel,
            route=routes[row.queue],
            country=row.country,
            uid=row.uid,
            ext_user_id=row.ext_user_id,
            state=row.state,
            created_at=row.created_at / 1000,
            due_at=_seconds(row.due_at),
            expires_at=row.expires_at / 1000,
            ended_at=_seconds(row.ended_at),
            attempts=row.attempt,
            deaths=row.deaths,
            instance=row.instance,
            reason=row.reason,
            code=row.code,
            has_content=row.id in with_content,
            statuses=views[row.id],
            tries=tries[row.id],
        )
        for row in rows
    ]


def _status_views(connection: Connection, ids: Sequence[str]) -> dict[str, list[StatusView]]:
    """Return the statuses of these messages in their order, by message id."""
    views: dict[str, list[StatusView]] = {message_id: [] for message_id in ids}
    query = select(statuses).where(one_of(statuses.c.message_id, ids)).order_by(statuses.c.seq)
    for row in connection.execute(query):
        views[row.message_id].append(
            StatusView(
                status=row.status,
                code=row.code,
                recorded_at=row.recorded_at / 1000,
                reporter=row.reporter,
                callback_state=row.callback_state,
                target=row.target,
                attempts=row.attempt,
                called_at=_seconds(row.called_at),
                http_status=row.http_status,
                next_attempt_at=_seconds(row.due_at),
                problem=row.problem,
            )
        )
    return views


def _try_views(connection: Connection, ids: Sequence[str]) -> dict[str, list[TryView]]:
    """Return the tries of these messages in their order, by message id."""
    views: dict[str, list[TryView]] = {message_id: [] for message_id in ids}
    order = attempts.c.message_id, attempts.c.attempt, attempts.c.position
    query = select(attempts).where(one_of(attempts.c.message_id, ids)).order_by(*order)
    for row in connection.execute(query):
        views[row.message_id].append(
            TryView(
                attempt=row.attempt,
                instance=row.instance,
                choice=row.choice,
                outcome=row.outcome,
                provider_id=row.provider_id or "",
                reason=row.reason,
                code=row.code,
                started_at=row.started_at / 1000,
                duration=row.duration / 1000,
                parts=row.parts,
                counted_parts=row.counted_parts,
                not_gsm7=row.not_gsm7,
                price=row.price,
                currency=row.currency,
            )
        )
    return views


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
