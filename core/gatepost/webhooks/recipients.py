"""Events that name a recipient and no message: the user's last message through the instance is meant."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from gatepost.contacts.users import Recipient, UserSearch, canonical_recipient
from gatepost.model import Secret, StatusEvent
from gatepost.outbox import Outbox, last_messages
from gatepost.outbox.last_messages import LastMessageQuery

MAX_SEARCHES = 16
"""Recipients of one report that are looked up at the same time."""


class Resolved(NamedTuple):
    """Events that named a recipient."""

    events: Sequence[StatusEvent]
    """Those whose message was found; they name it, and no recipient."""
    unknown: int
    """How many others are about a user who is unknown, or to whom the instance sent nothing."""
    invalid: int
    """How many name neither an address nor a number with its country code."""


class RecipientResolver:
    """Finds the messages of such events."""

    def __init__(self, users: UserSearch, outbox: Outbox) -> None:
        self._users = users
        self._outbox = outbox

    async def resolve(self, instance: str, events: Iterable[StatusEvent]) -> Resolved:
        """Find the messages of these events, which all name a recipient.

        Raises Unavailable when a contact source can't answer now, and StoreError.
        """
        named = [(event, _canonical(event.recipient)) for event in events]
        messages = await self._last_messages(instance, [one for _, one in named if one is not None])
        found = [
            msgspec.structs.replace(event, message_id=messages[one], recipient=None)
            for event, one in named
            if one is not None and messages[one]
        ]
        invalid = sum(one is None for _, one in named)
        return Resolved(found, len(named) - invalid - len(found), invalid)

    async def _last_messages(self, instance: str, recipients: Iterable[Recipient]) -> Mapping[Recipient, str]:
        """Return the id of the last message to each recipient; empty where there is none."""
        distinct = list(dict.fromkeys(recipients))
        messages: dict[Recipient, str] = {}
        for start in range(0, len(distinct), MAX_SEARCHES):
            some = distinct[start : start + MAX_SEARCHES]
            found = await self._users.find(instance, some)
            queries = [LastMessageQuery(instance, one.channel, found[one]) for one in some]
            ids = await asyncio.gather(*(self._outbox.change(last_messages.find, query) for query in queries))
            messages |= zip(some, ids, strict=True)
        return messages


def _canonical(recipient: Secret | None) -> Recipient | None:
    return canonical_recipient(recipient) if recipient else None
