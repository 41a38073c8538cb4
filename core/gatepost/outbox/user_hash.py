"""The keyed hash that names a user where the ext_user_id itself must not be stored.

It is HMAC-SHA-256 with a random key that the first migration has put into the store. Who has the whole store can test
guesses of an id; who has only an export, a page or a log can't.
"""

import hashlib
import hmac

from sqlalchemy import Connection, select

from gatepost.outbox.forgetting_schema import keys

SHOWN = 16
"""Characters of a hash that are shown to people."""

select_key = select(keys.c.value).where(keys.c.name == "user_hash")
"""The query for the key."""


def digest(key: bytes, ext_user_id: str) -> str:
    """Return the hash of a user: 64 hex digits. It is the same for every client, as the id is."""
    return hmac.new(key, ext_user_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def of_user(connection: Connection, ext_user_id: str) -> str:
    """Return the hash of a user, with the key of this store."""
    return digest(bytes(connection.execute(select_key).scalar_one()), ext_user_id)
