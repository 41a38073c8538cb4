"""What the store has of one user: which clients have the user, and all of it for a copy (GDPR article 15)."""

from collections.abc import Collection, Iterator, Sequence

import msgspec
from sqlalchemy import Connection, func, select

from gatepost.content import EmailContent, SmsContent, decode_content
from gatepost.content_keys import ContentKeyMissing, ContentKeys
from gatepost.model import Channel
from gatepost.outbox import (
    audit,
    counters,
    forgotten_users,
    limits,
    queries,
    refusals,
    suppressions,
    user_hash,
)
from gatepost.outbox.audit import AuditView
from gatepost.outbox.driver_errors import StatementRefused
from gatepost.outbox.one_of import one_of
from gatepost.outbox.queries import MessageView
from gatepost.outbox.queues import all_queues
from gatepost.outbox.records import OUR_ID
from gatepost.outbox.refusals import RefusalView
from gatepost.outbox.schema import contents, messages
from gatepost.outbox.schema import counters as counters_table
from gatepost.outbox.schema import refusals as refusals_table
from gatepost.outbox.schema import suppressions as suppressions_table
from gatepost.outbox.states import FINAL_STATES, State
from gatepost.outbox.suppressions import Suppression
from gatepost.outbox.transaction import id_chunks

_NO_END = 1_000_000
"""As the limit of a list: all of it."""


class MessageCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages a user has in the store."""

    all: int
    open: int
    """Those that have not ended."""


class DayCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages to the user were accepted in a day, for `per_user_per_day`."""

    day_at: float
    """The beginning of the day (UTC), in seconds since the epoch."""
    messages: int


class UserMessage(MessageView, frozen=True, kw_only=True, rename=OUR_ID):
    """A message with all that is stored of it."""

    callback_url: str
    is_preview: bool
    content: EmailContent | SmsContent | None
    """None where it is erased, or can't be read."""
    content_until_at: float | None
    """When it is erased at the latest, in seconds since the epoch."""


class UserData(msgspec.Struct, frozen=True, kw_only=True):
    """All that the store has of a user."""

    client: str
    ext_user_id: str
    user_hash: str
    """How the audit log names the user."""
    messages: Sequence[UserMessage]
    suppressions: Sequence[Suppression]
    refused_requests: Sequence[RefusalView]
    messages_by_day: Sequence[DayCount]
    audit_log: Sequence[AuditView]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stored of the user."""
        lists = self.messages, self.suppressions, self.refused_requests, self.messages_by_day, self.audit_log
        return not any(lists)


def find_clients(connection: Connection, ext_user_id: str, now: int) -> list[str]:
    """Return the clients of whose user something is stored."""
    found: set[str] = set()
    for table in (messages, suppressions_table, refusals_table):
        found.update(
            connection.execute(
                select(table.c.client).where(table.c.ext_user_id == ext_user_id).distinct()
            ).scalars()
        )
    forgotten = forgotten_users.newest(connection, ext_user_id=ext_user_id, limit=_NO_END)
    found.update(row.client for row in forgotten)
    clients = {queue.client for queue in all_queues(connection)}
    found.update(client for client in clients - found if _days(connection, client, ext_user_id, now))
    entries = audit.entries_of_user(connection, user_hash.of_user(connection, ext_user_id))
    found.update(str(one.target["client"]) for one in entries if one.target.get("client"))
    return sorted(found)


def count_messages(connection: Connection, client: str, ext_user_id: str) -> MessageCount:
    """Return how many messages of a user are stored."""
    query = (
        select(messages.c.state, func.count().label("n"))
        .where(messages.c.ext_user_id == ext_user_id, messages.c.client == client)
        .group_by(messages.c.state)
    )
    counts = {State(row.state): int(row.n) for row in connection.execute(query)}
    open_messages = sum(n for state, n in counts.items() if state not in FINAL_STATES)
    return MessageCount(all=sum(counts.values()), open=open_messages)


def collect(
    connection: Connection, client: str, ext_user_id: str, now: int, retention: float, keys: ContentKeys
) -> UserData:
    """Return all that is stored of a user at this moment; ``retention`` in seconds.

    Raises StatementRefused where the key of a content is missing: without it the copy would not be whole.
    """
    hashed = user_hash.of_user(connection, ext_user_id)
    return UserData(
        client=client,
        ext_user_id=ext_user_id,
        user_hash=hashed,
        messages=list(_messages(connection, client, ext_user_id, retention, keys)),
        # As if it were long ago: those that have ended are stored until they are pruned.
        suppressions=suppressions.list_suppressions(
            connection, 0.0, client=client, ext_user_id=ext_user_id, limit=_NO_END
        ),
        refused_requests=refusals.find(connection, client=client, user=ext_user_id, limit=_NO_END),
        messages_by_day=_days(connection, client, ext_user_id, now),
        audit_log=[
            one
            for one in audit.entries_of_user(connection, hashed)
            if one.target.get("client") in {None, "", client}
        ],
    )


def _messages(
    connection: Connection, client: str, ext_user_id: str, retention: float, keys: ContentKeys
) -> Iterator[UserMessage]:
    ids = select(messages.c.id).where(messages.c.ext_user_id == ext_user_id, messages.c.client == client)
    for chunk in id_chunks(connection.execute(ids.order_by(messages.c.id)).scalars()):
        stored = _contents(connection, chunk)
        query = select(messages.c.id, messages.c.callback_url, messages.c.preview)
        rows = {row.id: row for row in connection.execute(query.where(one_of(messages.c.id, chunk)))}
        for view in queries.views_of_ids(connection, chunk):
            row = rows[view.id]
            content = stored.get(view.id)
            channel = Channel(view.channel)
            yield UserMessage(
                **msgspec.structs.asdict(view),
                callback_url=row.callback_url,
                is_preview=bool(row.preview),
                content=None if content is None else _decoded(keys, channel, view.id, content),
                content_until_at=None if content is None else (view.ended_at or view.expires_at) + retention,
            )


def _decoded(
    keys: ContentKeys, channel: Channel, message_id: str, stored: bytes
) -> EmailContent | SmsContent | None:
    try:
        return decode_content(channel, keys.decrypt(message_id, stored))
    except ContentKeyMissing as error:
        raise StatementRefused(str(error)) from None
    except ValueError:
        # The gateway can't read it either; such a message fails.
        return None


def _contents(connection: Connection, ids: Collection[str]) -> dict[str, bytes]:
    query = select(contents).where(one_of(contents.c.message_id, list(ids)))
    return {row.message_id: bytes(row.content) for row in connection.execute(query)}


def _days(connection: Connection, client: str, ext_user_id: str, now: int) -> list[DayCount]:
    query = (
        select(counters_table.c.period, func.sum(counters_table.c.value).label("n"))
        .where(
            one_of(counters_table.c.period, counters.stored_days(now)),
            counters_table.c.scope == limits.user_scope(client, ext_user_id),
        )
        .group_by(counters_table.c.period)
        .order_by(counters_table.c.period)
    )
    return [DayCount(day_at=row.period / 1000, messages=int(row.n)) for row in connection.execute(query)]
