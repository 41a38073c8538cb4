"""What operators did with one message: the entries of the audit log that name it, or that name what it belongs to."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from gatepost.outbox import audit, user_hash
from gatepost.outbox.audit import AuditView, view_of
from gatepost.outbox.queries import MessageView
from gatepost.outbox.schema import audit as log

MAX_ENTRIES = 10_000
"""The newest entries of the audit log that are read."""

_OF_FILTERS = frozenset({"pause", "resume", "cancel", "cancel-begin"})
"""Operations on all messages for which a few things hold."""


def acts_on(connection: Connection, message: MessageView) -> Sequence[AuditView]:
    """Return the entries since the message was accepted, the oldest first.

    Of an operation on many messages the log has the first ids alone. Pauses and cancellations count as long as the
    message has not ended.
    """
    newest = select(log).order_by(log.c.seq.desc()).limit(MAX_ENTRIES).subquery()
    query = (
        select(newest).where(newest.c.recorded_at >= round(message.created_at * 1000)).order_by(newest.c.seq)
    )
    hashed = user_hash.of_user(connection, message.ext_user_id)
    found = []
    for row in connection.execute(query):
        if f'"{message.id}"' in row.target:
            found.append(view_of(row))
        elif row.operation in _OF_FILTERS and _before_end(message, row.recorded_at / 1000):
            entry = view_of(row)
            if _concerns(entry.target, message, hashed):
                found.append(entry)
    return found


def _before_end(message: MessageView, moment: float) -> bool:
    return message.ended_at is None or moment <= message.ended_at


def _concerns(target: Mapping[str, Any], message: MessageView, hashed: str) -> bool:
    """Return whether a filter means the message; one that looks at its content may not have.

    ``hashed`` is the hash of the message's user, by which the log names users.
    """
    if "ids" in target or message.client not in target.get("clients", [message.client]):
        return False
    same = {
        "client": message.client,
        "channel": message.channel,
        "route": message.route,
        audit.USER: hashed,
    }
    if any(target.get(name, value) != value for name, value in same.items()):
        return False
    since, until = target.get("since"), target.get("until")
    return (since is None or message.created_at >= _seconds(since)) and (
        until is None or message.created_at < _seconds(until)
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
