"""Taking messages in: exactly once a uid."""

from collections.abc import Sequence

from sqlalchemy import select, tuple_

from gatepost.outbox.records import NewMessage, StoredMessage
from gatepost.outbox.schema import contents, messages
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction, chunks

Key = tuple[str, str, str]
"""Client, channel, uid."""


def key(message: NewMessage) -> Key:
    """What makes a message the same message."""
    return message.client, message.channel.value, message.uid


def put(tx: Transaction, new: Sequence[NewMessage]) -> list[StoredMessage]:
    """Store each message unless its uid is known; returns what now stands under each uid.

    A caller whose own id comes back has stored it; another id means that the uid was known.
    """
    first: dict[Key, NewMessage] = {}
    for message in new:
        first.setdefault(key(message), message)
    rows = [_row(tx, message) for message in first.values()]
    standing = {key(message): StoredMessage(message.id, message.fingerprint) for message in first.values()}
    if tx.insert_new(messages, rows) == len(rows):
        stored = list(first.values())
    else:
        standing = find_all(tx, list(first))
        stored = [message for message in first.values() if standing[key(message)].id == message.id]
    if stored:
        tx.insert_new(contents, [{"message_id": m.id, "content": m.content} for m in stored])
    return [standing[key(message)] for message in new]


def _row(tx: Transaction, message: NewMessage) -> dict[str, object]:
    return {
        "id": message.id,
        "client": message.client,
        "channel": message.channel.value,
        "uid": message.uid,
        "fingerprint": message.fingerprint,
        "ext_user_id": message.ext_user_id,
        "preview": message.preview,
        "callback_url": message.callback_url,
        "state": State.QUEUED.value,
        "due_at": tx.now,
        "created_at": tx.now,
        "expires_at": tx.after(message.lifetime),
        "ended_at": None,
        "attempt": 0,
        "holder": "",
        "unanswered": 0,
        "deaths": 0,
        "instance": "",
        "provider_id": None,
        "reason": "",
        "code": "",
    }


def find(tx: Transaction, keys: Sequence[Key]) -> list[StoredMessage | None]:
    """What stands under each uid; None where it is not known."""
    found = find_all(tx, keys)
    return [found.get(wanted) for wanted in keys]


def find_all(tx: Transaction, keys: Sequence[Key]) -> dict[Key, StoredMessage]:
    """What stands under these uids."""
    found: dict[Key, StoredMessage] = {}
    columns = messages.c.client, messages.c.channel, messages.c.uid
    for some in chunks(dict.fromkeys(keys)):
        query = select(*columns, messages.c.id, messages.c.fingerprint).where(tuple_(*columns).in_(some))
        for client, channel, uid, identity, fingerprint in tx.connection.execute(query):
            found[client, channel, uid] = StoredMessage(identity, bytes(fingerprint))
    return found
