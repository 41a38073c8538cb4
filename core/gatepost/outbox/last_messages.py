"""The last message that an instance sent to a user, for reports that name no message."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Text, bindparam, exists, select

from gatepost.model import Channel
from gatepost.outbox.forgotten_users import User
from gatepost.outbox.schema import attempts, messages
from gatepost.outbox.transaction import Transaction, dialect_pair


class LastMessageQuery(NamedTuple):
    """Asks for the last message on a channel that an instance sent to any of these users."""

    instance: str
    channel: Channel
    users: Sequence[User]


_was_sent = exists().where(
    attempts.c.message_id == messages.c.id,
    attempts.c.instance == bindparam("instance"),
    attempts.c.outcome.not_in(["rejected", "unavailable", bindparam("left_out", type_=Text)]),
)
# Ids begin with the time.
_select_last = dialect_pair(
    lambda _: (
        select(messages.c.id)
        .where(
            messages.c.ext_user_id == bindparam("user"),
            messages.c.client == bindparam("client"),
            messages.c.channel == bindparam("channel"),
            # A preview goes to another recipient than the user.
            messages.c.preview == "",
            _was_sent,
        )
        .order_by(messages.c.id.desc())
        .limit(1)
    )
)


def find(tx: Transaction, queries: Sequence[LastMessageQuery]) -> list[str]:
    """Return the id of the last message for each query; empty where there is none.

    One that was perhaps sent counts only where no other was: what the user says would prove that it was.
    """
    return [
        max(_ids(tx, query, left_out="uncertain") or _ids(tx, query, left_out=""), default="")
        for query in queries
    ]


def _ids(tx: Transaction, query: LastMessageQuery, *, left_out: str) -> list[str]:
    ids: list[str] = []
    for client, user in query.users:
        found = tx.fetch(
            _select_last,
            client=client,
            user=user,
            channel=query.channel.value,
            instance=query.instance,
            left_out=left_out,
        )
        ids += [row.id for row in found]
    return ids
