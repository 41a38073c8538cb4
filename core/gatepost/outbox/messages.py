"""Storing accepted messages: each uid once."""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import bindparam, select

from gatepost.outbox import counters, limits, statistics, suppressions
from gatepost.outbox.forgotten_users import User
from gatepost.outbox.new_rows import NewRows
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.queues import QueueName, add_queues
from gatepost.outbox.records import Limit, NewMessage, Queue, StoredMessage
from gatepost.outbox.schema import contents, messages
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction, dialect_pair

Key = tuple[str, str, str]
"""Client, channel and uid: what identifies a message to its client."""


_MESSAGES = NewRows(
    messages,
    (
        *("id", "client", "channel", "uid", "queue", "country", "fingerprint", "ext_user_id", "preview"),
        *("callback_url", "due_at", "created_at", "expires_at"),
    ),
    {
        "state": State.QUEUED.value,
        "attempt": 0,
        "holder": "",
        "lost_answers": 0,
        "passed": "",
        "deaths": 0,
        "instance": "",
        "reason": "",
        "code": "",
    },
)
_CONTENTS = NewRows(contents, ("message_id", "content"))


def new_id(seconds: float | None = None) -> str:
    """Return a new ext_message_id: a UUID of version 7 (RFC 9562), so that new rows are neighbours on disk.

    It holds the time, in ``seconds`` since the epoch; None: now.
    """
    milliseconds = time.time_ns() // 1_000_000 if seconds is None else round(seconds * 1000)
    digits = (milliseconds.to_bytes(6) + os.urandom(10)).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def key(message: NewMessage) -> Key:
    """Return the key of a message: two messages with the same key are the same message."""
    return message.client, message.channel.value, message.uid


def put(
    known_queues: Mapping[QueueName, Queue], tx: Transaction, new: Sequence[NewMessage]
) -> list[tuple[StoredMessage | Limit, Queue]]:
    """Store each message unless its key is known; return for each what is now stored under its key, and its queue.

    If the returned id is the message's own, it was stored; another id means that the key was known. A new message
    to a suppressed user is not stored. Instead of it a limit is returned for a message that is not stored because that
    limit is reached. ``known_queues`` are the queues that this process knows; others are added.
    """
    reasons = suppressions.find_reasons(tx, (_user(message) for message in new if not message.preview))
    suppressed = reasons and {
        message.id for message in new if not message.preview and _user(message) in reasons
    }
    by_key: dict[Key, NewMessage] = {}
    for message in new:
        if message.id not in suppressed:
            by_key.setdefault(key(message), message)
    names = {(message.channel, message.route, message.client) for message in new}
    queues = known_queues if names <= known_queues.keys() else add_queues(tx, sorted(names))
    refused = _reached_limits(tx, by_key)
    admitted = {one: message for one, message in by_key.items() if one not in refused}
    outcomes: dict[Key, StoredMessage | Limit] = {**_insert(tx, queues, admitted), **refused}
    if suppressed:
        outcomes |= _find_by_key(tx, [key(message) for message in new if message.id in suppressed])
    return [
        (outcomes.get(key(message)) or _suppressed(reasons[_user(message)]), _queue(queues, message))
        for message in new
    ]


def _user(message: NewMessage) -> User:
    return message.client, message.ext_user_id


def _reached_limits(tx: Transaction, by_key: Mapping[Key, NewMessage]) -> dict[Key, Limit]:
    """Return the reached limit of each message that must be refused.

    A repeat of a known message never counts and is never refused. Which messages are known matters only when a limit
    is reached, so it is looked up only then.
    """
    limited = {one: message.limits for one, message in by_key.items() if message.limits}
    refused = limits.refusals(tx, limited)
    if refused:
        known = _find_by_key(tx, list(limited))
        refused = limits.refusals(tx, {one: limited[one] for one in limited if one not in known})
    return refused


def _insert(
    tx: Transaction, queues: Mapping[QueueName, Queue], by_key: Mapping[Key, NewMessage]
) -> dict[Key, StoredMessage]:
    """Insert the messages whose key is not known, with their contents; count them; return what is now stored."""
    if not by_key:
        return {}
    new = list(by_key.values())
    encrypt, fingerprint = tx.policy.content_keys.encrypt, tx.policy.content_keys.fingerprint
    now = tx.now
    rows = [
        (
            message.id,
            message.client,
            message.channel.value,
            message.uid,
            _queue(queues, message).id,
            message.country,
            fingerprint(message.fingerprint),
            message.ext_user_id,
            message.preview,
            message.callback_url,
            now,
            now,
            tx.after(message.lifetime),
        )
        for message in new
    ]
    inserted_ids = tx.insert_new_ids(_MESSAGES, rows)
    if len(inserted_ids) == len(new):
        stored = {one: StoredMessage(message.id, message.fingerprint) for one, message in by_key.items()}
    else:
        stored = _find_by_key(tx, list(by_key))
        new = [message for message in new if message.id in inserted_ids]
    if new:
        tx.insert_new_ids(_CONTENTS, [(message.id, encrypt(message.id, message.content)) for message in new])
        _count(tx, queues, new)
    return stored


def _count(tx: Transaction, queues: Mapping[QueueName, Queue], inserted: Sequence[NewMessage]) -> None:
    for client, amount in Counter(message.client for message in inserted).items():
        counters.add(tx, counters.queued(client), amount)
    for message in inserted:
        if message.limits:
            limits.count(tx, message.limits)
    places = Counter((_queue(queues, message).id, message.country) for message in inserted)
    for (queue, country), amount in places.items():
        statistics.add(tx, statistics.STORED, created_at=tx.now, queue=queue, country=country, amount=amount)


def _queue(queues: Mapping[QueueName, Queue], message: NewMessage) -> Queue:
    return queues[message.channel, message.route, message.client]


def find(tx: Transaction, requests: Sequence[tuple[Key, str]]) -> list[StoredMessage | None]:
    """Return what is stored under each key; None where the key is not known.

    With each key comes the ext_user_id of the new message; empty for a preview. If the key is not known and the user
    is suppressed, the result says so.
    """
    found = _find_by_key(tx, [one for one, _ in requests])
    users = [(client, ext_user_id) for (client, _, _), ext_user_id in requests]
    reasons = suppressions.find_reasons(tx, (user for user in users if user[1]))
    return [
        found.get(one) or (_suppressed(reasons[user]) if user in reasons else None)
        for (one, _), user in zip(requests, users, strict=True)
    ]


def _suppressed(reason: str) -> StoredMessage:
    return StoredMessage("", b"", reason)


_select_by_uid = dialect_pair(
    lambda _: select(messages.c.uid, messages.c.id, messages.c.fingerprint).where(
        messages.c.client == bindparam("of_client"),
        messages.c.channel == bindparam("of_channel"),
        one_of(messages.c.uid, IDS),
    )
)


def _find_by_key(tx: Transaction, keys: Iterable[Key]) -> dict[Key, StoredMessage]:
    # Not one IN over three columns: with two keys or more SQLite would read the whole table.
    uids: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for client, channel, uid in keys:
        uids[client, channel].add(uid)
    return {
        (client, channel, row.uid): StoredMessage(row.id, bytes(row.fingerprint))
        for (client, channel), of_both in uids.items()
        for row in tx.select_by_ids(_select_by_uid, sorted(of_both), of_client=client, of_channel=channel)
    }
