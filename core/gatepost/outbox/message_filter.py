"""Which messages an operator means: their conditions, and the pages in which those that wait are read."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.engine import Row

from gatepost.content import EmailContent, decode_content
from gatepost.content_keys import ContentKeyMissing, ContentKeys
from gatepost.model import Channel, Status
from gatepost.outbox.driver_errors import StatementRefused
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.queues import all_queues
from gatepost.outbox.records import Queue
from gatepost.outbox.schema import attempts, contents, messages, queues, statuses
from gatepost.outbox.states import CallbackState, State
from gatepost.outbox.text_pattern import MAX_PATTERN, TextPattern

PAGE_ROWS = 100
"""Messages of a page."""

PAGE_BYTES = 2 * 1_048_576
"""Bytes of the contents of a page with several messages: to erase as many takes a few milliseconds."""

_BEFORE_ALL = -(2**62), ""

_CALLBACK_FAILED = or_(
    statuses.c.callback_state == CallbackState.DEAD.value,
    (statuses.c.callback_state == CallbackState.QUEUED.value) & (statuses.c.attempt > 0),
)


class MessageFilter(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Conditions on a message, all of which must hold; an empty one always does. Times in seconds since the epoch."""

    client: str = ""
    channel: Channel | None = None
    route: str = ""
    user: str = ""
    """The ext_user_id."""
    sender: str = ""
    """The address of an email's sender, or an SMS's sender, as the request had it; in any case of the letters."""
    text: Annotated[str, msgspec.Meta(max_length=MAX_PATTERN)] = ""
    """A TextPattern for the subject of an email, or the text of an SMS."""
    since: float | None = None
    """When it was accepted: not before then."""
    until: float | None = None
    """When it was accepted: before then."""
    states: tuple[State, ...] = ()
    status: Status | None = None
    """A status that it has, also if others followed."""
    plugin: str = ""
    """An instance that it was handed to."""
    dead_callbacks: bool = False
    """Whether only messages count of which a callback was given up."""
    failed_callbacks: bool = False
    """The same, and those with a callback that waits for another attempt."""
    clients: tuple[str, ...] = ()
    """The clients whose messages count at all; none: those of every client."""

    @property
    def is_empty(self) -> bool:
        """Whether it means every message in these states."""
        return msgspec.structs.replace(self, states=()) == MessageFilter()

    @property
    def reads_content(self) -> bool:
        """Whether the content of a message has to be read."""
        return bool(self.sender or self.text)


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """The place after which the next page begins. Within a queue and state messages are read by their due times.

    A message that is tried meanwhile gets a later due time, so it is met again and not passed over.
    """

    queue: int
    state: State
    due_at: int = _BEFORE_ALL[0]
    id: str = _BEFORE_ALL[1]


class Page(NamedTuple):
    """A few of the messages that wait in one state of one queue."""

    queue: Queue
    state: State
    ids: Sequence[str]
    """The messages that meet the conditions."""
    next: Cursor | None
    """Where the next page begins; None: this is the last one."""


def pages(
    connection: Connection,
    wanted: MessageFilter,
    states: Sequence[State],
    accepted_until: int,
    keys: ContentKeys,
    cursor: Cursor | None = None,
) -> Iterator[Page]:
    """Yield the messages in these states, the ones that were accepted by then and meet the conditions.

    Time is bounded for each page, however many messages there are and whatever their contents. ``keys`` are for
    conditions on the content. Raises StatementRefused where one of them is missing: the message may be meant.
    """
    meets = and_(
        messages.c.created_at <= accepted_until, *conditions(msgspec.structs.replace(wanted, states=()))
    )
    query = _select_page.add_columns(meets.label("meets"))
    contents_meet = _ContentConditions(wanted, keys)
    found = {queue.id: queue for queue in all_queues(connection) if _queue_matches(queue, wanted)}
    places = [Cursor(queue=number, state=state) for number in found for state in states]
    if cursor is not None:
        first = (cursor.queue, states.index(cursor.state))
        places = [place for place in places if (place.queue, states.index(place.state)) > first]
        if cursor.queue in found:
            places.insert(0, cursor)
    for number, place in enumerate(places):
        following = places[number + 1] if number + 1 < len(places) else None
        position: Cursor | None = place
        while position is not None:
            rows, position = _read(connection, query, position)
            queue = found[place.queue]
            ids = contents_meet.ids(connection, queue, [row.id for row in rows if row.meets])
            yield Page(queue, place.state, ids, position or following)


def _queue_matches(queue: Queue, wanted: MessageFilter) -> bool:
    return (
        wanted.client in {"", queue.client}
        and queue.client in (wanted.clients or (queue.client,))
        and wanted.channel in {None, queue.channel}
        and wanted.route in {"", queue.route}
    )


def conditions(wanted: MessageFilter) -> list[ColumnElement[bool]]:
    """Return the conditions on a row of ``messages``: all but those on its content."""
    tests: dict[str, Any] = {
        # By the queue, and not by the client: an index on clients would be read in the order of their uids.
        "client": _in_queues(queues.c.client == wanted.client),
        "clients": _in_queues(one_of(queues.c.client, wanted.clients)),
        "channel": _in_queues(queues.c.channel == wanted.channel),
        "route": _in_queues(queues.c.route == wanted.route),
        "user": messages.c.ext_user_id == wanted.user,
        "since": messages.c.created_at >= _milliseconds(wanted.since),
        "until": messages.c.created_at < _milliseconds(wanted.until),
        "states": one_of(messages.c.state, [state.value for state in wanted.states]),
        "status": _has_status(statuses.c.status == wanted.status),
        "plugin": _has_any(attempts.c.message_id == messages.c.id, attempts.c.instance == wanted.plugin),
        "dead_callbacks": _has_status(statuses.c.callback_state == CallbackState.DEAD.value),
        "failed_callbacks": _has_status(_CALLBACK_FAILED),
    }
    everything = MessageFilter()
    return [test for name, test in tests.items() if getattr(wanted, name) != getattr(everything, name)]


def _in_queues(which: ColumnElement[bool]) -> ColumnElement[bool]:
    return messages.c.queue.in_(select(queues.c.id).where(which))


def _has_status(which: ColumnElement[bool]) -> ColumnElement[bool]:
    return _has_any(statuses.c.message_id == messages.c.id, which)


def _has_any(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return whether there is such a row: looked up for each message, which PostgreSQL does not always do for EXISTS."""
    return select(literal(1)).where(*which).limit(1).scalar_subquery().is_not(None)


def _milliseconds(seconds: float | None) -> int:
    return 0 if seconds is None else math.ceil(seconds * 1000)


_select_page: Select[Any] = (
    select(
        messages.c.id,
        messages.c.due_at,
        # Read without the content itself, which may be large.
        select(func.length(contents.c.content))
        .where(contents.c.message_id == messages.c.id)
        .scalar_subquery()
        .label("size"),
    )
    .where(
        messages.c.queue == bindparam("of_queue"),
        messages.c.state == bindparam("in_state"),
        # Stated, because the index holds only these.
        messages.c.due_at.is_not(None),
        tuple_(messages.c.due_at, messages.c.id)
        > tuple_(bindparam("due_at", type_=BigInteger()), bindparam("after_id", type_=Text())),
    )
    .order_by(messages.c.due_at, messages.c.id)
    .limit(PAGE_ROWS)
)

_select_contents = select(contents.c.message_id, contents.c.content).where(one_of(contents.c.message_id, IDS))


def _read(
    connection: Connection, query: Select[Any], place: Cursor
) -> tuple[Sequence[Row[Any]], Cursor | None]:
    """Return the rows after this place, and where the next ones begin; None: there are no more."""
    values = {
        "of_queue": place.queue,
        "in_state": place.state.value,
        "due_at": place.due_at,
        "after_id": place.id,
    }
    found = connection.execute(query, values).all()
    count, size = 0, 0
    for row in found:
        size += row.size or 0
        if count and size > PAGE_BYTES:
            break
        count += 1
    if count == len(found) < PAGE_ROWS:
        return found, None
    rows = found[:count]
    return rows, msgspec.structs.replace(place, due_at=rows[-1].due_at, id=rows[-1].id)


class _ContentConditions:
    """The conditions on the content of a message."""

    def __init__(self, wanted: MessageFilter, keys: ContentKeys) -> None:
        self._wanted = wanted
        self._keys = keys
        self._sender = wanted.sender.casefold()
        self._text = TextPattern(wanted.text)

    def ids(self, connection: Connection, queue: Queue, found: list[str]) -> list[str]:
        """Return those of these messages whose contents meet the conditions."""
        if not found or not self._wanted.reads_content:
            return found
        with_content = connection.execute(_select_contents, {"ids": found})
        meets = partial(self._content_meets, queue.channel)
        matching = {row.message_id for row in with_content if meets(row.message_id, bytes(row.content))}
        return [message_id for message_id in found if message_id in matching]

    def _content_meets(self, channel: Channel, message_id: str, data: bytes) -> bool:
        try:
            content = decode_content(channel, self._keys.decrypt(message_id, data))
        except ContentKeyMissing as error:
            raise StatementRefused(str(error)) from None
        except ValueError:
            return False
        if isinstance(content, EmailContent):
            sender, text = content.sender.address, content.subject
        else:
            sender, text = content.sender or "", content.text
        if self._sender and sender.casefold() != self._sender:
            return False
        return not self._wanted.text or self._text.matches(text)
