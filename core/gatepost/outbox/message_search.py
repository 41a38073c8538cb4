"""The messages that an operator looks for, newest first and page by page, and how many there are.

A search of millions of messages takes no longer than the operator would wait. Where a condition leaves few messages, an
index names them. Otherwise the newest messages are read first, in ranges of their ids, which begin with the time; when the
time is up, the answer says how far the search has come, and the next page goes on there.
"""

import re
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, TextClause, func, select, text

from gatepost.outbox.indexes import TROUBLED_MESSAGES
from gatepost.outbox.message_filter import MessageFilter, conditions
from gatepost.outbox.message_indexes import (
    MAX_FEW,
    MAX_FEW_OF_PAGE,
    Candidates,
    all_troubled,
    candidates_of,
    few_ids,
)
from gatepost.outbox.one_of import one_of
from gatepost.outbox.queries import MessageView, views_of_ids
from gatepost.outbox.schema import messages

SEARCH_TIME = 2.0
"""Seconds after which a search of all messages stops."""

COUNT_TIME = 0.15
"""Seconds after which a count stops."""

MAX_COUNT = 10_000
"""Messages that are counted; of more, only that there are more is said."""

_BLOCK = 500
"""Candidates that are looked up at once."""

_FIRST_RANGE = 60_000
"""Milliseconds of the first range of ids. Each further one is twice as long, until it takes a little while."""

_LONG = 0.03
"""Seconds for a range, after which the next one is no longer."""

_CLOCK_DIFFERENCE = 600_000
"""Milliseconds that the time in an id may differ from the time of acceptance, which is the database's."""

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the messages that were looked for."""

    messages: Sequence[MessageView]
    """The newest first."""
    matching: int
    """How many there are on all pages: at least, where ``matching_at_least`` is True."""
    matching_at_least: bool
    next: str = ""
    """After which id the next page begins; empty: there is none."""
    oldest_searched_at: float | None = None
    """Set when the time was up: only messages that were accepted since then have been looked at."""


class _Range(NamedTuple):
    """A range of ids."""

    low: str
    """The first id is not less."""
    high: str
    """The last one is less; empty: there is no end."""
    is_last: bool
    """Whether there is no message before it."""

    def conditions(self, message_id: Column[str]) -> list[ColumnElement[bool]]:
        """Return the conditions on an id of this range."""
        before = [message_id < self.high] if self.high else []
        return [*before, *([message_id >= self.low] if self.low else [])]


def find(
    connection: Connection,
    wanted: MessageFilter,
    *,
    after: str = "",
    limit: int = 20,
    search_time: float = SEARCH_TIME,
    count_time: float = COUNT_TIME,
    max_few: int = MAX_FEW,
) -> MessagePage:
    """Return the messages that meet the conditions, those after this id, which is that of an earlier page."""
    search = _Search(connection, wanted, max_few)
    ids, end = search.ids_after(after, limit + 1, search_time)
    rest = "" if end.is_last else end.low
    following = ids[limit - 1] if len(ids) > limit else rest
    if not after and not following:
        matching, is_complete = len(ids), True
    elif len(ids) <= limit and not end.is_last:
        # The time was up: a count would come no further than the search.
        matching, is_complete = len(ids), False
    else:
        matching, is_complete = search.count(count_time)
    moment = _milliseconds(following)
    return MessagePage(
        messages=views_of_ids(connection, ids[:limit])[::-1],
        matching=max(matching, len(ids[:limit])),
        matching_at_least=not is_complete,
        next=following,
        oldest_searched_at=moment / 1000 if moment is not None and len(ids) <= limit else None,
    )


def next_ids(
    connection: Connection, wanted: MessageFilter, *, after: str = "", limit: int, search_time: float
) -> tuple[Sequence[str], str]:
    """Return the ids of the next messages, and after which id those after them begin; empty: there are none.

    When the time is up there may be fewer ids than ``limit``, or none, and more to come.
    """
    ids, end = _Search(connection, wanted, MAX_FEW_OF_PAGE).ids_after(after, limit, search_time)
    if len(ids) == limit:
        return ids, ids[-1]
    return ids, "" if end.is_last else end.low


class _Search:
    """One search, in the data of one moment."""

    def __init__(self, connection: Connection, wanted: MessageFilter, max_few: int) -> None:
        self._connection = connection
        self._wanted = wanted
        self._few = few_ids(connection, wanted, max_few)
        self._candidates: Candidates | None = None
        remaining = wanted
        if self._few is None:
            self._candidates, remaining = candidates_of(wanted)
        self._conditions: list[ColumnElement[bool] | TextClause] = [*conditions(remaining)]
        if all_troubled(wanted) and self._candidates is None:
            # The condition of the index, stated as it is there: only then the index is used.
            self._conditions.append(text(TROUBLED_MESSAGES))
        if self._few is not None:
            self._conditions.append(one_of(messages.c.id, self._few))

    @cached_property
    def _matching_few(self) -> list[str]:
        """The messages that meet all conditions, the newest first, where they are few."""
        query = select(messages.c.id).where(*self._conditions).order_by(messages.c.id.desc())
        return list(self._connection.execute(query).scalars())

    def ids_after(self, after: str, limit: int, seconds: float) -> tuple[list[str], _Range]:
        """Return the ids of the next messages, and the last range that was read."""
        if self._few is not None:
            found = [one for one in self._matching_few if not after or one < after]
            return found[:limit], _Range("", "", is_last=True)
        deadline = time.perf_counter() + seconds
        ids: list[str] = []
        end = _Range("", "", is_last=True)
        for end in self._ranges(after):
            ids += self._ids_of(end, limit - len(ids))
            if len(ids) >= limit or time.perf_counter() > deadline:
                break
        return ids, end

    def count(self, seconds: float) -> tuple[int, bool]:
        """Count all messages, MAX_COUNT at most; return also whether these are all."""
        if self._few is not None:
            return len(self._matching_few), True
        deadline = time.perf_counter() + seconds
        count = 0
        for one in self._ranges(""):
            count += self._count_of(one, MAX_COUNT + 1 - count)
            if count > MAX_COUNT:
                return MAX_COUNT, False
            if time.perf_counter() > deadline:
                return count, one.is_last
        return count, True

    def _ids_of(self, one: _Range, limit: int) -> list[str]:
        """Return the newest ids of a range."""
        if self._candidates is not None:
            return self._ids_of_candidates(self._candidates, one, limit)
        query = select(messages.c.id).where(*self._conditions, *one.conditions(messages.c.id))
        return list(self._connection.execute(query.order_by(messages.c.id.desc()).limit(limit)).scalars())

    def _ids_of_candidates(self, candidates: Candidates, one: _Range, limit: int) -> list[str]:
        query = candidates.query.order_by(candidates.message_id.desc()).limit(_BLOCK)
        ids: list[str] = []
        while True:
            where = one.conditions(candidates.message_id)
            block = [str(row[0]) for row in self._connection.execute(query.where(*where))]
            matching = select(messages.c.id).where(one_of(messages.c.id, block), *self._conditions)
            ids += self._connection.execute(matching.order_by(messages.c.id.desc())).scalars()
            if len(ids) >= limit or len(block) < _BLOCK:
                return ids[:limit]
            one = one._replace(high=block[-1])

    def _count_of(self, one: _Range, limit: int) -> int:
        """Count the messages of a range."""
        if self._candidates is not None:
            return len(self._ids_of_candidates(self._candidates, one, limit))
        query = select(messages.c.id).where(*self._conditions, *one.conditions(messages.c.id)).limit(limit)
        return self._connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()

    def _ranges(self, after: str) -> Iterator[_Range]:
        """Yield the ranges of ids in which the messages are, the newest first."""
        high, floor = after, ""
        if self._wanted.until is not None:
            latest = _first_id(round(self._wanted.until * 1000) + _CLOCK_DIFFERENCE)
            high = min(after or latest, latest)
        if self._wanted.since is not None:
            floor = _first_id(round(self._wanted.since * 1000) - _CLOCK_DIFFERENCE)
        before = [messages.c.id < high] if high else []
        newest = self._connection.execute(select(func.max(messages.c.id)).where(*before)).scalar() or ""
        oldest = self._connection.execute(select(func.min(messages.c.id))).scalar() or ""
        first = _milliseconds(max(oldest, floor))
        position = _milliseconds(newest)
        length = _FIRST_RANGE
        while position is not None and first is not None and position > first:
            begin = time.perf_counter()
            position = max(first, position - length)
            low = _first_id(position)
            if position == first:
                break
            yield _Range(low, high, is_last=False)
            high = low
            if time.perf_counter() - begin < _LONG:
                length *= 2
        yield _Range(floor, high, is_last=True)


def _first_id(milliseconds: int) -> str:
    """Return the beginning of the ids of this moment."""
    digits = f"{max(0, milliseconds):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _milliseconds(message_id: str) -> int | None:
    """Return the time in an id, or in the beginning of one; None for a text without."""
    if len(message_id) == len(_first_id(0)) or _UUID7.fullmatch(message_id):
        return int(message_id[:8] + message_id[9:13], 16)
    return None
