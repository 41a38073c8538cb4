"""The suppressions: users of a client who must not be contacted, whatever the contact sources say."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, exists, or_, select

from gatepost.model import Status
from gatepost.outbox import audit, forgotten_users
from gatepost.outbox.forgotten_users import User
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.schema import messages, suppressions
from gatepost.outbox.transaction import Transaction, dialect_pair, id_chunks

MAX_REASON = 64
"""Characters of a reason."""

GATEWAY = "gateway"
"""The actor of suppressions that a status has added."""

# That an address has no mailbox: enhanced codes (RFC 3463) about the address and the disabled mailbox; where a report
# has none, the replies of RFC 5321 that say it. Other permanent codes are about the message, the sender or the server.
_NO_MAILBOX = re.compile(r"5\.(1\.\d{1,3}|2\.1)", re.ASCII)
_ENHANCED_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}", re.ASCII)
_NO_MAILBOX_REPLIES = frozenset({"550", "551", "553", "556"})
# Providers' names for what is not the mailbox's fault or will pass, whatever the server's reply was.
_OTHER_CAUSE = re.compile("block|soft|spam|virus|policy", re.IGNORECASE)


class NewSuppression(NamedTuple):
    """A suppression to be added; it replaces an earlier one of the same user."""

    client: str
    ext_user_id: str
    reason: str
    actor: str
    """Who adds it, for the operator."""
    ends_at: float | None = None
    """Seconds since the epoch; None: it does not end."""


class Removal(NamedTuple):
    """A suppression to be removed."""

    client: str
    ext_user_id: str
    reason: str
    """Why it is removed, for the audit log; may be empty."""
    actor: str


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """A user who must not be contacted; times in seconds since the epoch."""

    client: str
    ext_user_id: str
    """Empty for a forgotten user."""
    user_hash: str = ""
    """Of a forgotten user."""
    reason: str
    actor: str
    created_at: float
    ends_at: float | None


_in_force = or_(suppressions.c.ends_at.is_(None), suppressions.c.ends_at > bindparam("now"))

# With names of their own for the columns that `messages` has too: in RETURNING on SQLite, columns have no table's name.
_of_user = select(
    suppressions.c.client.label("suppressed_client"),
    suppressions.c.ext_user_id.label("suppressed_user"),
    suppressions.c.reason,
    suppressions.c.ends_at,
).subquery()
reason_of_message = (
    select(_of_user.c.reason)
    .where(
        _of_user.c.suppressed_client == messages.c.client,
        _of_user.c.suppressed_user == messages.c.ext_user_id,
        or_(_of_user.c.ends_at.is_(None), _of_user.c.ends_at > bindparam("now")),
    )
    .scalar_subquery()
)
"""Why the user of a message must not be contacted, NULL without a suppression; needs the parameter ``now``."""

_select_reasons = dialect_pair(
    lambda _: select(suppressions.c.ext_user_id, suppressions.c.reason).where(
        suppressions.c.client == bindparam("of_client"), one_of(suppressions.c.ext_user_id, IDS), _in_force
    )
)
# Both in one statement, because every acceptance needs them.
_presence = dialect_pair(
    lambda _: select(
        exists(select(suppressions.c.client).limit(1)).label("has_suppressions"),
        forgotten_users.key_if_any.label("key_if_forgotten"),
    )
)


def find_reasons(tx: Transaction, users: Iterable[User]) -> dict[User, str]:
    """Return the reason for each of these users who must not be contacted."""
    wanted = set(users)
    if not wanted:
        return {}
    [presence] = tx.fetch(_presence)
    reasons = forgotten_users.reasons(tx, presence.key_if_forgotten, wanted)
    if presence.has_suppressions:
        for client, ids in _by_client(wanted).items():
            for row in tx.select_by_ids(_select_reasons, ids, of_client=client, now=tx.now):
                reasons[client, row.ext_user_id] = row.reason
    return reasons


def _by_client(users: Iterable[User]) -> Mapping[str, Sequence[str]]:
    """Return the ext_user_ids of each client. An IN over both columns would make SQLite read the whole table."""
    by_client: defaultdict[str, list[str]] = defaultdict(list)
    for client, ext_user_id in sorted(set(users)):
        by_client[client].append(ext_user_id)
    return by_client


def add(tx: Transaction, orders: Sequence[NewSuppression]) -> list[None]:
    """Suppress the user of each order, and record it in the audit log. The last order for a user counts."""
    by_user = {(one.client, one.ext_user_id): one for one in orders}
    _delete(tx, by_user)
    _insert(tx, by_user.values())
    audit.append(tx, [_audit_entry(one, "suppress-add") for one in orders])
    return [None] * len(orders)


def remove(tx: Transaction, orders: Sequence[Removal]) -> list[bool]:
    """Remove the suppression of each user, also of a forgotten one; return whether there was one.

    The audit log records it then.
    """
    users = [(one.client, one.ext_user_id) for one in orders]
    removed = _delete(tx, users) | forgotten_users.remove(tx, users)
    if removed:
        audit.append(
            tx,
            [
                _audit_entry(one, "suppress-remove")
                for one, user in zip(orders, users, strict=True)
                if user in removed
            ],
        )
    return [user in removed for user in users]


def _audit_entry(order: NewSuppression | Removal, operation: str) -> audit.AuditEntry:
    target = {"client": order.client, audit.USER: order.ext_user_id}
    return audit.AuditEntry(actor=order.actor, operation=operation, target=target, reason=order.reason)


def add_for_statuses(tx: Transaction, recorded: Iterable[tuple[User, Status, str]]) -> None:
    """Suppress the users of messages whose new status asks for that by the policy; with each status comes its code.

    A suppression without an end stays as it is.
    """
    reasons = {
        user: reason
        for user, status, code in recorded
        if (reason := status_reason(status, code)) in tx.policy.suppress
    }
    if reasons:
        _delete(tx, reasons, suppressions.c.ends_at.is_not(None))
        _insert(tx, (NewSuppression(*user, reason, GATEWAY) for user, reason in reasons.items()))


def status_reason(status: Status, code: str) -> str:
    """Return what `delivery.suppress` calls a status: its name, or ``failed:permanent``."""
    return "failed:permanent" if status is Status.FAILED and _is_permanent(code) else status.value


def _is_permanent(code: str) -> bool:
    """Return whether a code says that the mailbox does not exist, as ``550 5.1.1`` and ``bounce 550`` do."""
    words = code.split()
    if _OTHER_CAUSE.search(code):
        return False
    enhanced = [word for word in words if _ENHANCED_CODE.fullmatch(word)]
    if enhanced:
        return any(_NO_MAILBOX.fullmatch(word) for word in enhanced)
    return not _NO_MAILBOX_REPLIES.isdisjoint(words)


def erase(tx: Transaction, users: Collection[User]) -> None:
    """Delete the suppressions of these users, who are forgotten."""
    _delete(tx, users)


def prune(tx: Transaction, limit: int) -> int:
    """Delete up to ``limit`` suppressions that have ended; return how many."""
    has_ended = suppressions.c.ends_at <= tx.now
    query = select(suppressions.c.client, suppressions.c.ext_user_id).where(has_ended).limit(limit)
    users = [(client, user) for client, user in tx.connection.execute(query)]
    # With the condition again: another replica may have suppressed the user anew.
    return len(_delete(tx, users, has_ended))


def list_suppressions(
    connection: Connection, now: float, *, client: str = "", ext_user_id: str = "", limit: int
) -> list[Suppression]:
    """Return the suppressions in force at ``now`` (seconds since the epoch), the newest first.

    Forgotten users are among them, without an end.
    """
    query = select(suppressions).where(_in_force)
    if client:
        query = query.where(suppressions.c.client == client)
    if ext_user_id:
        query = query.where(suppressions.c.ext_user_id == ext_user_id)
    newest = query.order_by(
        suppressions.c.created_at.desc(), suppressions.c.client, suppressions.c.ext_user_id
    )
    found = [
        Suppression(
            client=row.client,
            ext_user_id=row.ext_user_id,
            reason=row.reason,
            actor=row.actor,
            created_at=row.created_at / 1000,
            ends_at=None if row.ends_at is None else row.ends_at / 1000,
        )
        for row in connection.execute(newest.limit(limit), {"now": round(now * 1000)})
    ]
    found += [
        Suppression(
            client=row.client,
            ext_user_id="",
            user_hash=row.user_hash,
            reason=forgotten_users.REASON,
            actor=row.actor,
            created_at=row.created_at / 1000,
            ends_at=None,
        )
        for row in forgotten_users.newest(connection, client=client, ext_user_id=ext_user_id, limit=limit)
    ]
    return sorted(found, key=lambda one: -one.created_at)[:limit]


def _insert(tx: Transaction, new: Iterable[NewSuppression]) -> None:
    rows = [
        {
            "client": one.client,
            "ext_user_id": one.ext_user_id,
            "reason": one.reason,
            "actor": one.actor,
            "created_at": tx.now,
            "ends_at": None if one.ends_at is None else round(one.ends_at * 1000),
        }
        # Sorted, so that two replicas that suppress the same users don't wait for each other.
        for one in sorted(new)
    ]
    tx.insert_new(suppressions, rows)


def _delete(tx: Transaction, users: Collection[User], *conditions: ColumnElement[bool]) -> set[User]:
    """Delete the suppressions of these users that meet the conditions; return whose were deleted."""
    ext_user_id = suppressions.c.ext_user_id
    deleted: set[User] = set()
    for client, ids in _by_client(users).items():
        for chunk in id_chunks(ids):
            is_theirs = suppressions.c.client == client, ext_user_id.in_(chunk)
            statement = delete(suppressions).where(*is_theirs, *conditions).returning(ext_user_id)
            deleted.update((client, user) for user in tx.connection.execute(statement).scalars())
    return deleted
