"""Reading the statistics: how many messages had which status, and what they cost, by what an operator asks for.

What is read are the statistics alone, never the messages, which may be forgotten.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, literal_column

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
    PARTS,
    PRICE,
    PRICE_UNITS,
    STORED,
    first_hour,
)
from gatepost.outbox.statistics_parts import Period, Source, parts


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


def is_by_plugin(wanted: StatisticsFilter, by: Sequence[Dimension]) -> bool:
    """Return whether messages are told apart by plugin, so that those from Smartico can't be counted."""
    return bool(wanted.plugin) or Dimension.PLUGIN in by


class Counted(NamedTuple):
    """What was counted."""

    groups: Sequence[Group]
    """The groups in which there is anything, in the order of their keys."""
    period: Period
    """When the messages were accepted; it begins later than asked for where the time was up."""
    is_complete: bool
    """Whether it begins as it was asked for."""


def read_groups(
    connection: Connection,
    wanted: StatisticsFilter,
    by: Sequence[Dimension],
    now: int,
) -> Sequence[Group]:
    """Return the groups in which there is anything, in the order of their keys; ``now`` in milliseconds."""
    return count(connection, wanted, by, now).groups


def count(
    connection: Connection,
    wanted: StatisticsFilter,
    by: Sequence[Dimension],
    now: int,
    seconds: float = math.inf,
) -> Counted:
    """Count the messages, the newest first; after about so many seconds the older ones are left out."""
    period = whole_period(wanted, by, now)
    queues = {queue.id: queue for queue in all_queues(connection)}
    by_plugin = is_by_plugin(wanted, by)
    groups: dict[tuple[str, ...], Group] = {}
    deadline = time.perf_counter() + seconds
    since = period.since
    for part in parts(connection, _source(wanted, by, queues.values()), period, now):
        # The rows of a group have these columns in common.
        found: dict[tuple[Any, ...], Group] = {}
        for row in part.rows:
            counted, value, common = row[0], row[-1], row[1:-1]
            if not value or (by_plugin and counted == STORED):
                continue
            group = found.get(common)
            if group is None:
                key = tuple(_VALUES[dimension](row, queues) for dimension in by)
                group = groups.get(key) or groups.setdefault(key, Group(key, None if by_plugin else 0))
                found[common] = group
            _add(group, counted, int(value), by_plugin=by_plugin)
        if not part.is_last and time.perf_counter() > deadline:
            since = part.begin
            break
    is_complete = since == period.since
    return Counted([groups[key] for key in sorted(groups)], period._replace(since=since), is_complete)


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


def _source(wanted: StatisticsFilter, by: Sequence[Dimension], queues: Collection[Queue]) -> Source:
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
    matching = [queue.id for queue in queues if _matches(queue, wanted)]
    conditions = [table.instance == wanted.plugin] if wanted.plugin else []
    if len(matching) < len(queues) or wanted.country:
        # Also all of them, before a country: the primary key has the queue before it.
        conditions.append(one_of(table.queue, matching))
    if wanted.country:
        conditions.append(table.country == wanted.country)
    return Source(columns, conditions, by_hour=Dimension.HOUR in by)


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
