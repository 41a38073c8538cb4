"""The audit log: who changed what, when and why. Entries are only ever appended, and never deleted."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, func, or_, select, true

from gatepost.outbox import user_hash
from gatepost.outbox.schema import audit
from gatepost.outbox.transaction import Transaction

MAX_REASON = 500
"""Characters of a reason that are stored."""

MAX_TEXT = 200
"""Characters of a text in a target that are stored."""

MAX_ITEMS = 10
"""Items of a list in a target that are stored."""

USER = "user"
"""The item of a target that names a user: by ``append`` with the ext_user_id, in the store with its hash.

Entries are never deleted, so they must not say of whom they are after the user was forgotten.
"""

Target = Mapping[str, str | int | Sequence[str]]
"""What an operation was applied to, and what it did: ids, filters, counts. Never an address, a number or content."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One operation to be recorded."""

    actor: str
    """Who: a user of this machine."""
    operation: str
    """What: the operation's name, such as ``retry``."""
    target: Target
    reason: str = ""
    """Why, as the operator typed it."""


class AuditView(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded operation."""

    seq: int
    recorded_at: float
    """Seconds since the epoch."""
    actor: str
    operation: str
    target: Mapping[str, Any]
    reason: str
    hash: str
    """Of this entry and all before it; see ``audit_chain``."""


def append(tx: Transaction, entries: Sequence[AuditEntry]) -> list[None]:
    """Append entries, in the transaction of the changes that they record. Long texts and lists are cut.

    They are written at its end, by ``audit_chain``.
    """
    tx.audit_rows.extend(
        {
            "recorded_at": tx.now,
            "actor": entry.actor,
            "operation": entry.operation,
            "target": _encode(_with_hash(tx, entry.target)),
            "reason": _one_line(entry.reason)[:MAX_REASON],
        }
        for entry in entries
    )
    return [None] * len(entries)


def _with_hash(tx: Transaction, target: Target) -> Target:
    """Return the target with the hash of its user."""
    user = target.get(USER)
    return {**target, USER: user_hash.of_user(tx.connection, user)} if isinstance(user, str) else target


def text_of_time(moment: float) -> str:
    """Return seconds since the epoch as a text for a target."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


class MessageChange(NamedTuple):
    """What an operation has done to one message."""

    id: str
    client: str
    """Empty for a message that is not in the store."""
    changed: int
    """What was changed, in the unit of the operation; 0: nothing."""


def append_changes(
    tx: Transaction, actor: str, operation: str, unit: str, changes: Sequence[MessageChange], reason: str = ""
) -> None:
    """Append an entry of an operation on messages for each client, so that it can be shown to those who see the client.

    It has the number of the messages, the ids of the first ones, and under the name ``unit`` what was changed.
    """
    by_client: dict[str, list[MessageChange]] = {}
    for one in changes:
        by_client.setdefault(one.client, []).append(one)
    entries = []
    for client, ones in by_client.items():
        target: dict[str, str | int | Sequence[str]] = {"client": client} if client else {}
        target |= {
            "messages": len(ones),
            "ids": [one.id for one in ones],
            unit: sum(one.changed for one in ones),
        }
        entries.append(AuditEntry(actor=actor, operation=operation, target=target, reason=reason))
    append(tx, entries)


def list_entries(connection: Connection, limit: int) -> list[AuditView]:
    """Return the newest entries, the newest first."""
    query = select(audit).order_by(audit.c.seq.desc()).limit(limit)
    return [view_of(row) for row in connection.execute(query)]


class AuditFilter(NamedTuple):
    """Which entries are read; an empty field holds for all."""

    actor: str = ""
    """A part of the actor's name."""
    operation: str = ""
    clients: Sequence[str] = ()
    """Entries that name these clients, one or all of them, and no other one."""
    before: int | None = None
    """Entries with a smaller number."""


def find_rows(connection: Connection, wanted: AuditFilter, limit: int) -> list[Row[Any]]:
    """Return the rows of the newest entries that a filter means, the newest first."""
    query = select(audit).where(_of_clients(wanted.clients)).order_by(audit.c.seq.desc()).limit(limit)
    if wanted.before is not None:
        query = query.where(audit.c.seq < wanted.before)
    if wanted.actor:
        query = query.where(audit.c.actor.contains(wanted.actor, autoescape=True))
    if wanted.operation:
        query = query.where(audit.c.operation == wanted.operation)
    return list(connection.execute(query))


def operations(connection: Connection, clients: Sequence[str] = ()) -> list[str]:
    """Return the names of the operations that were recorded, of all or of these clients."""
    query = select(audit.c.operation).where(_of_clients(clients)).distinct().order_by(audit.c.operation)
    return list(connection.execute(query).scalars())


def _of_clients(clients: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that an entry names one of these clients, or all of them, and no other one."""
    if not clients:
        return true()
    # As _encode writes it; within a text of the target each quotation mark has a backslash before it.
    named = [
        *(f'"client":{_json(client)}' for client in clients),
        *(f'"clients":{_json([client])}' for client in clients),
        f'"clients":{_json(clients)}',
    ]
    # Not LIKE, for which SQLite takes upper and lower case as the same.
    return or_(*(func.replace(audit.c.target, one, "") != audit.c.target for one in named))


def view_of(row: Row[Any]) -> AuditView:
    """Return an entry as it is shown."""
    return AuditView(
        seq=row.seq,
        recorded_at=row.recorded_at / 1000,
        actor=row.actor,
        operation=row.operation,
        target=msgspec.json.decode(row.target),
        reason=row.reason,
        hash=row.hash,
    )


def entries_of_user(connection: Connection, hashed: str) -> list[AuditView]:
    """Return the entries that name a user by this hash, the newest first."""
    query = select(audit).where(audit.c.target.contains(hashed, autoescape=True))
    return [view_of(row) for row in connection.execute(query.order_by(audit.c.seq.desc()))]


def _encode(target: Target) -> str:
    return _json({name: _bounded(value) for name, value in target.items()})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _bounded(value: str | int | Sequence[str]) -> str | int | Sequence[str]:
    if isinstance(value, int):
        return value
    return value[:MAX_TEXT] if isinstance(value, str) else [one[:MAX_TEXT] for one in value[:MAX_ITEMS]]


def _one_line(text: str) -> str:
    """Return the text without control characters: PostgreSQL stores no NUL, and a terminal would obey others."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
