"""The sums of a period of the statistics, read in parts, the newest first, and from as few rows as there can be.

A whole day is read as a day, the rest of the period hour by hour. The first part is short. Each further one is twice as long,
until it takes a little while, so that a reader may stop after any of them.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Label, Row, Select, and_, func, select

from gatepost.outbox.counters import ALL_SHARDS, DAY
from gatepost.outbox.one_of import one_of
from gatepost.outbox.schema import statistics
from gatepost.outbox.statistics import HOUR, IN_LANE

_FIRST_HOURS = 6
_FIRST_DAYS = 1
"""How long the first part is."""

_LONG = 0.03
"""Seconds for a part, after which the next one is no longer."""


class Period(NamedTuple):
    """From which moment on, and until before which one; in milliseconds since the epoch, None without an end."""

    since: int | None
    until: int | None


class Source(NamedTuple):
    """What is read of the statistics."""

    columns: Sequence[ColumnElement[Any]]
    """What the sums are grouped by."""
    conditions: Sequence[ColumnElement[bool]]
    by_hour: bool
    """Whether the hours are told apart."""


class Part(NamedTuple):
    """The sums of a part of a period."""

    rows: Sequence[Row[Any]]
    """The columns of the source, and ``value``."""
    begin: int
    """When it begins."""
    is_last: bool
    """Whether there is nothing before it."""


def parts(connection: Connection, source: Source, period: Period, now: int) -> Iterator[Part]:
    """Yield the parts of a period of whole hours; ``now`` is in milliseconds since the epoch."""
    begin, end = _bounds(connection, period, now)
    day_begin, day_end = begin + -begin % DAY, end - end % DAY
    if source.by_hour or day_begin >= day_end:
        ranges = [(begin, end, HOUR)]
    else:
        # The newest first.
        ranges = [(day_end, end, HOUR), (day_begin, day_end, DAY), (begin, day_begin, HOUR)]
    for low, high, step in ranges:
        for rows, position in _range(connection, source, low, high, step):
            yield Part(rows, position, is_last=position <= begin)


def _bounds(connection: Connection, period: Period, now: int) -> tuple[int, int]:
    """Return when the period begins and ends, where there are statistics."""
    period_of = statistics.c.period
    # The clock may have gone back since the newest one.
    newest = connection.execute(select(func.max(period_of)).where(statistics.c.hours == 1)).scalar()
    last = max(now, newest or 0)
    end = last - last % DAY + DAY if period.until is None else period.until
    oldest = connection.execute(select(func.min(period_of)).where(statistics.c.hours == 24)).scalar()
    in_lanes = connection.execute(select(func.min(period_of)).where(IN_LANE)).scalar()
    first = min(last if one is None else one for one in (oldest, in_lanes))
    return max(first - first % DAY, period.since or 0), end


def _range(
    connection: Connection, source: Source, low: int, high: int, step: int
) -> Iterator[tuple[Sequence[Row[Any]], int]]:
    """Yield the sums of steps of a range, some at a time, and where they begin."""
    count = _FIRST_HOURS if step == HOUR else _FIRST_DAYS
    while low < high:
        began = time.perf_counter()
        position = max(low, high - count * step)
        yield _sums(connection, source, position, high, step), position
        high = position
        if time.perf_counter() - began < _LONG:
            count *= 2


def _sums(connection: Connection, source: Source, low: int, high: int, step: int) -> Sequence[Row[Any]]:
    table = statistics.c
    # Each period by itself: so the columns behind it in the primary key are looked up too.
    periods = one_of(table.period, list(range(low, high, step)))
    query = _query(source)
    if step == HOUR:
        return connection.execute(query.where(table.hours == 1, periods)).all()
    of_days = and_(table.hours == 24, periods, table.shard == ALL_SHARDS)
    of_lanes = and_(IN_LANE, table.period >= low, table.period < high)
    return [row for which in (of_days, of_lanes) for row in connection.execute(query.where(which)).all()]


def _query(source: Source) -> Select[Any]:
    query = select(*source.columns, func.sum(statistics.c.value).label("value")).where(*source.conditions)
    return query.group_by(*(one.element if isinstance(one, Label) else one for one in source.columns))
