"""The users who were forgotten: only a keyed hash of their id is left, so that they are not contacted again."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, exists, select
from sqlalchemy.engine import Row

from gatepost.outbox import user_hash
from gatepost.outbox.forgetting_schema import erasures, forgotten_users
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.transaction import Transaction, dialect_pair

REASON = "forgotten"
"""Why a forgotten user must not be contacted; Smartico sees it."""

User = tuple[str, str]
"""A client and an ext_user_id."""

key_if_any = user_hash.select_key.where(exists(select(forgotten_users.c.client))).scalar_subquery()
"""The key of the hashes; NULL while no user is forgotten, so that nothing has to be hashed."""

_select_key_if_any = dialect_pair(lambda _: select(key_if_any.label("key")))
_select_by_hash = dialect_pair(
    lambda _: select(forgotten_users.c.user_hash, forgotten_users.c.client).where(
        one_of(forgotten_users.c.user_hash, IDS)
    )
)


def add(tx: Transaction, user: User, actor: str) -> None:
    """Note that a user is forgotten; an earlier note stays."""
    client, ext_user_id = user
    row = {
        "user_hash": user_hash.of_user(tx.connection, ext_user_id),
        "client": client,
        "actor": actor,
        "created_at": tx.now,
    }
    tx.insert_new(forgotten_users, [row])


def reasons(tx: Transaction, key: bytes | None, users: Iterable[User]) -> dict[User, str]:
    """Return the reason for each of these users who is forgotten; ``key`` is what ``key_if_any`` returned."""
    if not key:
        return {}
    hashes = {user: user_hash.digest(bytes(key), user[1]) for user in users}
    rows = tx.select_by_ids(_select_by_hash, sorted(set(hashes.values())))
    found = {(row.client, row.user_hash) for row in rows}
    return {user: REASON for user, one in hashes.items() if (user[0], one) in found}


def find(tx: Transaction, users: Iterable[User]) -> set[User]:
    """Return those of these users who are forgotten."""
    [row] = tx.fetch(_select_key_if_any)
    return set(reasons(tx, row.key, users))


def remove(tx: Transaction, users: Iterable[User]) -> set[User]:
    """Let these users be contacted again; return those who were forgotten."""
    found = find(tx, users)
    for client, ext_user_id in sorted(found):
        is_theirs = (
            forgotten_users.c.user_hash == user_hash.of_user(tx.connection, ext_user_id),
            forgotten_users.c.client == client,
        )
        tx.connection.execute(delete(forgotten_users).where(*is_theirs))
    return found


def newest(
    connection: Connection, *, client: str = "", ext_user_id: str = "", limit: int
) -> Sequence[Row[Any]]:
    """Return forgotten users, the newest first: of this client, and this user, where they are given."""
    query = select(forgotten_users)
    if client:
        query = query.where(forgotten_users.c.client == client)
    if ext_user_id:
        query = query.where(forgotten_users.c.user_hash == user_hash.of_user(connection, ext_user_id))
    order = forgotten_users.c.created_at.desc(), forgotten_users.c.client, forgotten_users.c.user_hash
    return connection.execute(query.order_by(*order).limit(limit)).all()


def add_erasures(tx: Transaction, message_ids: Iterable[str]) -> None:
    """Let the housekeeping erase these messages as soon as they have ended."""
    if rows := [{"message_id": one} for one in sorted(message_ids)]:
        tx.insert_new(erasures, rows)
