"""The errors among the newest tries, by instance and code. The time it takes does not grow with the store."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, case, func, select

from gatepost.outbox.one_of import one_of
from gatepost.outbox.schema import attempts, messages

NEWEST = 10_000
"""Tries that are read: those of the messages that were accepted last."""

_ERRORS = ("rejected", "unavailable", "uncertain", "failed")
_HOUR = 3_600_000
_DAY = 24 * _HOUR


class TryErrors(msgspec.Struct, frozen=True, kw_only=True):
    """The errors of one instance with one code."""

    instance: str
    outcome: str
    code: str
    hour: int
    """How many began in the last hour."""
    day: int


class NewestErrors(msgspec.Struct, frozen=True, kw_only=True):
    """The errors among the newest tries, the most frequent first."""

    tries: int
    since: float | None
    """Seconds since the epoch: when the first of these tries began; None without a try."""
    errors: Sequence[TryErrors]


def newest_errors(connection: Connection, now: int, clients: Sequence[str] = ()) -> NewestErrors:
    """Return the errors; of the messages of these clients, or of all. ``now`` is in milliseconds since the epoch."""
    newest = (
        select(attempts)
        .order_by(attempts.c.message_id.desc(), attempts.c.attempt.desc(), attempts.c.position.desc())
        .limit(NEWEST)
        .subquery()
    )
    tries = select(newest)
    if clients:
        # Looked up for each try: PostgreSQL would read all messages of these clients for a join.
        client = select(messages.c.client).where(messages.c.id == newest.c.message_id).scalar_subquery()
        tries = tries.where(one_of(client, list(clients)))
    found = tries.subquery()
    total = connection.execute(
        select(func.count().label("n"), func.min(found.c.started_at).label("first")).select_from(found)
    ).one()
    in_hour = func.sum(case((found.c.started_at >= now - _HOUR, 1), else_=0))
    query = (
        select(
            found.c.instance,
            found.c.outcome,
            found.c.code,
            in_hour.label("hour"),
            func.count().label("day"),
        )
        .where(one_of(found.c.outcome, list(_ERRORS)), found.c.started_at >= now - _DAY)
        .group_by(found.c.instance, found.c.outcome, found.c.code)
        .order_by(func.count().desc(), found.c.instance, found.c.outcome, found.c.code)
    )
    return NewestErrors(
        tries=int(total.n),
        since=None if total.first is None else total.first / 1000,
        errors=[TryErrors(**row._asdict()) for row in connection.execute(query)],
    )
