"""Reading the statistics: how many messages had which status, and what they cost, by what an operator asks for.

What is read are the statistics alone, never the messages, which may be forgotten.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Label, Row, Select, func, literal_column, select

from gatepost.model import Channel, Status
from gatepost.outbox.counters import DAY
from gatepost.outbox.one_of import one_of
from gatepost.outbox.queues import all_queues
from gatepost.outbox.records import Queue
from gatepost.outbox.schema import statistics
from gatepost.outbox.statistics import (
    ACCEPTED_AGAIN,
    COUNTED_PARTS,
    EXACT,
    HOUR,
    HOURS_KEPT,
    PARTS,
    PRICE,
    PRICE_UNITS,
    STORED,
)


class Dimension(StrEnum):
    """What messages are grouped by."""

    DAY = "day"
    HOUR = "hour"
    """Only of the last days: later an hour is a part of its day."""
    CLIENT = "client"
    CHANNEL = "channel"
    ROUTE = "route"
    PLUGIN = "plugin"
    COUNTRY = "country"


class StatisticsFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages are counted: all conditions hold for them, and an empty one holds for every message."""

    since: float | None = None
    """When they were accepted, in seconds since the epoch: since the beginning of this hour, or of its day in older times."""
    until: float | None = None
    """When they were accepted: until the end of the hour, or of the day, in which this is."""
    clients: Sequence[str] = ()
    """The messages of these clients; empty: of all."""
    channel: Channel | None = None
    route: str = ""
    plugin: str = ""
    """The name of the instance that had them."""
    country: str = ""


@dataclass(slots=True)
class Group:
    """The numbers of the messages with one value of each dimension."""

    key: tuple[str, ...]
    """The values of the dimensions, in their order; a day or an hour in ISO 8601. Empty where it is not known."""
    messages: int | None = 0
    """Accepted from Smartico; None where they are told apart by plugin, which no message has yet when it is accepted."""
    statuses: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    """By instance, ``accepted`` are those that it took; otherwise a message counts there once."""
    parts: int = 0
    """The parts of text messages whose provider said them."""
    counted_parts: int = 0
    """The parts of the other text messages that a provider took, as the gateway counts them."""
    prices: dict[str, Decimal] = field(default_factory=dict)
    """What the providers said that the messages cost, by currency; of an empty one where they named none."""


class Period(NamedTuple):
    """From which moment on, and until before which one; in milliseconds since the epoch, None without an end."""

    since: int | None
    until: int | None


def first_hour(now: int) -> int:
    """Return the moment since which there are hours; ``now`` in milliseconds since the epoch, as the result."""
    return now - now % DAY - HOURS_KEPT


def whole_period(wanted: StatisticsFilter, by: Sequence[Dimension], now: int) -> Period:
    """Return the whole hours in which the wanted messages were accepted; whole days where there are no hours any more.

    By hour, it begins with the first hour that there is.
    """

    def begin(moment: float | None) -> int | None:
        if moment is None:
            return None
        milliseconds = int(moment * 1000)
        return milliseconds - milliseconds % (HOUR if milliseconds >= first_hour(now) else DAY)

    since, until = begin(wanted.since), begin(wanted.until)
    if until is not None and wanted.until is not None and until < wanted.until * 1000:
        until += HOUR if until >= first_hour(now) else DAY
    return Period(max(since or 0, first_hour(now)) if Dimension.HOUR in by else since, until)


class TooManyNumbers(Exception):
    """What is asked for has more numbers than the limit."""


def is_by_plugin(wanted: StatisticsFilter, by: Sequence[Dimension]) -> bool:
    """Return whether messages are told apart by plugin, so that those from Smartico can't be counted."""
    return bool(wanted.plugin) or Dimension.PLUGIN in by


def read_groups(
    connection: Connection,
    wanted: StatisticsFilter,
    by: Sequence[Dimension],
    now: int,
    max_numbers: int | None = None,
) -> list[Group]:
    """Return the groups in which there is anything, in the order of their keys; ``now`` in milliseconds.

    Raises TooManyNumbers where the store has more than ``max_numbers`` sums for them.
    """
    queues = {queue.id: queue for queue in all_queues(connection)}
    by_plugin = is_by_plugin(wanted, by)
    groups: dict[tuple[str, ...], Group] = {}
    for row in _rows(connection, wanted, by, queues.values(), now, max_numbers):
        if row.value and not (by_plugin and row.counted == STORED):
            key = tuple(_VALUES[dimension](row, queues) for dimension in by)
            group = groups.get(key) or groups.setdefault(key, Group(key, None if by_plugin else 0))
            _add(group, row.counted, int(row.value), by_plugin=by_plugin)
    return [groups[key] for key in sorted(groups)]


def regroup(groups: Sequence[Group], place: int) -> list[Group]:
    """Return the sums of the groups that have the same value at this place of their keys, in the order of these values."""
    sums: dict[tuple[str, ...], Group] = {}
    for group in groups:
        key = (group.key[place],)
        total = sums.get(key) or sums.setdefault(key, Group(key, None if group.messages is None else 0))
        total.messages = None if total.messages is None else total.messages + (group.messages or 0)
        for status, number in group.statuses.items():
            total.statuses[status] += number
        total.parts += group.parts
        total.counted_parts += group.counted_parts
        for currency, price in group.prices.items():
            total.prices[currency] = EXACT.add(total.prices.get(currency, Decimal(0)), price)
    return [sums[key] for key in sorted(sums)]


def _matches(queue: Queue, wanted: StatisticsFilter) -> bool:
    return (
        (not wanted.clients or queue.client in wanted.clients)
        and wanted.channel in {None, queue.channel}
        and wanted.route in {"", queue.route}
    )


def _rows(
    connection: Connection,
    wanted: StatisticsFilter,
    by: Sequence[Dimension],
    queues: Collection[Queue],
    now: int,
    max_numbers: int | None,
) -> Iterator[Row[Any]]:
    """Yield the sums of hours, and of the days that have no hours any more."""
    query = _query(wanted, by, queues)
    period = statistics.c.period
    since, until = whole_period(wanted, by, now)
    if since is not None:
        query = query.where(period >= since)
    if until is not None:
        query = query.where(period < until)
    if max_numbers is not None:
        query = query.limit(max_numbers + 1)
    # One statement for each, because each reads one range of the primary key.
    for hours in (1,) if Dimension.HOUR in by else (1, 24):
        rows = connection.execute(query.where(statistics.c.hours == hours)).all()
        if max_numbers is not None and len(rows) > max_numbers:
            raise TooManyNumbers
        yield from rows


def _query(wanted: StatisticsFilter, by: Sequence[Dimension], queues: Collection[Queue]) -> Select[Any]:
    table = statistics.c
    columns: list[ColumnElement[Any]] = [table.counted]
    if {Dimension.CLIENT, Dimension.CHANNEL, Dimension.ROUTE} & set(by):
        columns.append(table.queue)
    if Dimension.HOUR in by:
        columns.append(table.period)
    elif Dimension.DAY in by:
        # A literal: on PostgreSQL two parameters would make two expressions of it.
        columns.append((table.period - table.period % literal_column(str(DAY))).label("period"))
    if Dimension.COUNTRY in by:
        columns.append(table.country)
    if Dimension.PLUGIN in by:
        columns.append(table.instance)
    query = select(*columns, func.sum(table.value).label("value"))
    query = query.group_by(*(one.element if isinstance(one, Label) else one for one in columns))
    matching = [queue.id for queue in queues if _matches(queue, wanted)]
    if len(matching) < len(queues):
        query = query.where(one_of(table.queue, matching))
    if wanted.plugin:
        query = query.where(table.instance == wanted.plugin)
    return query.where(table.country == wanted.country) if wanted.country else query


@lru_cache(1_000)
def _utc(moment: int, form: str) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime(form)


_VALUES: Mapping[Dimension, Callable[[Row[Any], Mapping[int, Queue]], str]] = {
    Dimension.DAY: lambda row, _: _utc(row.period, "%Y-%m-%d"),
    Dimension.HOUR: lambda row, _: _utc(row.period, "%Y-%m-%dT%H:%MZ"),
    Dimension.CLIENT: lambda row, queues: queues[row.queue].client,
    Dimension.CHANNEL: lambda row, queues: queues[row.queue].channel.value,
    Dimension.ROUTE: lambda row, queues: queues[row.queue].route,
    Dimension.PLUGIN: lambda row, _: str(row.instance),
    Dimension.COUNTRY: lambda row, _: str(row.country),
}


def _add(group: Group, counted: str, value: int, *, by_plugin: bool) -> None:
    if counted in group.statuses:
        group.statuses[Status(counted)] += value
    elif counted == STORED:
        group.messages = (group.messages or 0) + value
    elif counted == ACCEPTED_AGAIN:
        group.statuses[Status.ACCEPTED] += value if by_plugin else 0
    elif counted == PARTS:
        group.parts += value
    elif counted == COUNTED_PARTS:
        group.counted_parts += value
    elif counted.startswith(PRICE):
        currency = counted.removeprefix(PRICE)
        price = EXACT.divide(Decimal(int(value)), PRICE_UNITS)
        group.prices[currency] = EXACT.add(group.prices.get(currency, Decimal(0)), price)
