"""The users of the console, and their sessions. A session's token is stored as its hash alone."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, delete, select, update

from gatepost.outbox import audit
from gatepost.outbox.audit import AuditEntry
from gatepost.outbox.console_schema import console_sessions, console_users
from gatepost.outbox.transaction import Transaction

Role = Literal["viewer", "operator"]

MAX_NAME = 64
"""Characters of a user's name."""


class ConsoleUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the console."""

    name: str
    role: Role
    clients: Sequence[str] = ()
    """The clients whose messages the user may see; empty: all."""
    password_hash: str = ""
    """Argon2; empty: the user signs in through a proxy alone."""

    @property
    def may_change(self) -> bool:
        """Whether the user may do more than look."""
        return self.role == "operator"

    def may_see(self, client: str) -> bool:
        """Return whether the user may see the messages of this client."""
        return not self.clients or client in self.clients


class UserChange(NamedTuple):
    """A user to be stored in place of an earlier one of the same name."""

    user: ConsoleUser
    actor: str


class UserRemoval(NamedTuple):
    """A user to be removed."""

    name: str
    actor: str


class NewSession(NamedTuple):
    """A session that begins."""

    token: str
    user: ConsoleUser
    """As the user was when the password was compared."""
    seconds: float
    """How long it lasts at most."""


class Session(NamedTuple):
    """A session, with its user."""

    user: ConsoleUser
    seen_at: int
    """Milliseconds since the epoch."""


def token_hash(token: str) -> str:
    """Return what is stored of a session's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def put_user(tx: Transaction, changes: Sequence[UserChange]) -> list[bool]:
    """Store users; each result says whether the user is new. The sessions of a changed user end."""
    return [_put_user(tx, change) for change in changes]


def _put_user(tx: Transaction, change: UserChange) -> bool:
    user = change.user
    existed = _delete_user(tx, user.name)
    tx.connection.execute(
        console_users.insert().values(
            name=user.name,
            role=user.role,
            clients=msgspec.json.encode(user.clients).decode(),
            password_hash=user.password_hash,
            changed_at=tx.now,
        )
    )
    target = {"name": user.name, "role": user.role, "clients": list(user.clients)}
    operation = "console-user-change" if existed else "console-user-add"
    audit.append(tx, [AuditEntry(actor=change.actor, operation=operation, target=target)])
    return not existed


def remove_user(tx: Transaction, removals: Sequence[UserRemoval]) -> list[bool]:
    """Remove users and end their sessions; each result says whether there was one."""
    results = []
    for removal in removals:
        existed = _delete_user(tx, removal.name)
        results.append(existed)
        if existed:
            entry = AuditEntry(
                actor=removal.actor, operation="console-user-remove", target={"name": removal.name}
            )
            audit.append(tx, [entry])
    return results


def _delete_user(tx: Transaction, name: str) -> bool:
    # First the user, for whom it waits here while another replica begins a session.
    deleted = tx.connection.execute(delete(console_users).where(console_users.c.name == name))
    tx.connection.execute(delete(console_sessions).where(console_sessions.c.name == name))
    return deleted.rowcount > 0


def list_users(connection: Connection) -> list[ConsoleUser]:
    """Return all users by name."""
    return [_user(row) for row in connection.execute(select(console_users).order_by(console_users.c.name))]


def find_user(connection: Connection, name: str) -> ConsoleUser | None:
    """Return a user; None when there is none of this name."""
    row = connection.execute(select(console_users).where(console_users.c.name == name)).one_or_none()
    return _user(row) if row else None


def _user(row: Row[Any]) -> ConsoleUser:
    return ConsoleUser(
        name=row.name,
        role=row.role,
        clients=msgspec.json.decode(row.clients, type=list[str]),
        password_hash=row.password_hash,
    )


def begin_session(tx: Transaction, sessions: Sequence[NewSession]) -> list[bool]:
    """Store sessions that begin now, and delete those that have ended.

    Each result says whether the session has begun: not where the user was changed or removed meanwhile.
    """
    tx.connection.execute(delete(console_sessions).where(console_sessions.c.ends_at <= tx.now))
    return [_begin_session(tx, one) for one in sessions]


def _begin_session(tx: Transaction, session: NewSession) -> bool:
    query = select(console_users).where(console_users.c.name == session.user.name)
    row = tx.connection.execute(tx.with_lock(query)).one_or_none()
    if row is None or _user(row) != session.user:
        return False
    tx.connection.execute(
        console_sessions.insert().values(
            token_hash=token_hash(session.token),
            name=session.user.name,
            seen_at=tx.now,
            ends_at=tx.after(session.seconds),
        )
    )
    return True


def find_session(connection: Connection, token: str, now: int, max_idle: float) -> Session | None:
    """Return the session of a token; None when there is none, or when it has ended or was idle for too long."""
    query = (
        select(console_users, console_sessions.c.seen_at)
        .join(console_sessions, console_sessions.c.name == console_users.c.name)
        .where(
            console_sessions.c.token_hash == token_hash(token),
            console_sessions.c.ends_at > now,
            console_sessions.c.seen_at > now - round(max_idle * 1000),
        )
    )
    row = connection.execute(query).one_or_none()
    return Session(_user(row), row.seen_at) if row else None


def touch_session(tx: Transaction, tokens: Sequence[str]) -> list[None]:
    """Note that these sessions are in use."""
    for token in tokens:
        seen = update(console_sessions).where(console_sessions.c.token_hash == token_hash(token))
        tx.connection.execute(seen.values(seen_at=tx.now))
    return [None] * len(tokens)


def end_session(tx: Transaction, tokens: Sequence[str]) -> list[None]:
    """End these sessions."""
    for token in tokens:
        tx.connection.execute(
            delete(console_sessions).where(console_sessions.c.token_hash == token_hash(token))
        )
    return [None] * len(tokens)
