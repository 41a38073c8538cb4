"""Whose message an id is of."""

from collections.abc import Sequence

from sqlalchemy import select

from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.schema import messages
from gatepost.outbox.transaction import Transaction, dialect_pair

_select_clients = dialect_pair(
    lambda _: select(messages.c.id, messages.c.client).where(one_of(messages.c.id, IDS))
)


def find(tx: Transaction, message_ids: Sequence[str]) -> list[str]:
    """Return the client of each message; empty where the outbox does not have it."""
    found = dict(iter(tx.select_by_ids(_select_clients, sorted(set(message_ids)))))
    return [found.get(message_id, "") for message_id in message_ids]
