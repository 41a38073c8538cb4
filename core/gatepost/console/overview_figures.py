"""The figures of the overview that are counted: traffic, and how far messages get."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, func, select

from gatepost.console.charts import Chart, draw
from gatepost.model import Channel, Status
from gatepost.outbox.counters import DAY
from gatepost.outbox.one_of import one_of
from gatepost.outbox.schema import statuses
from gatepost.outbox.statistics import HOUR
from gatepost.outbox.statistics_report import Dimension, Group, StatisticsFilter, read_groups
from gatepost.outbox.statistics_table import readable_name

MAX_COUNTRIES = 8
"""Countries on the page."""


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """How far the messages of today with one name got."""

    name: str
    accepted: int
    """By a provider."""
    delivered: int
    opened: int
    failed: int
    rejected: int
    """By a provider, or by an operator who cancelled them."""

    def percent(self, number: int) -> float:
        """Return a number as a share of the accepted messages."""
        return round(100 * number / self.accepted, 1) if self.accepted else 0.0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted for one user: of the clients that the user may see."""

    traffic: Chart
    """Of the last 24 hours."""
    funnels: Sequence[tuple[str, Sequence[Funnel]]]
    """Of today (UTC), by what the title names."""
    sent: int
    """Messages that a provider took in the last hour."""


def read_figures(connection: Connection, clients: Sequence[str], now: int) -> Figures:
    """Read the figures of these clients, of all if empty; ``now`` is in milliseconds since the epoch.

    It reads the statistics, and the statuses of the last hour.
    """
    since = now - DAY
    last_day = StatisticsFilter(clients=clients, since=since / 1000)
    hours = read_groups(connection, last_day, [Dimension.HOUR], now)
    return Figures(
        traffic=draw(hours, Dimension.HOUR, since, now + 1),
        funnels=_funnels(connection, clients, now),
        sent=_accepted_since(connection, clients, now - HOUR),
    )


def _funnels(connection: Connection, clients: Sequence[str], now: int) -> list[tuple[str, Sequence[Funnel]]]:
    today = (now - now % DAY) / 1000

    def by(dimension: Dimension, channel: Channel | None = None) -> list[Funnel]:
        wanted = StatisticsFilter(clients=clients, since=today, channel=channel)
        groups = read_groups(connection, wanted, [dimension], now)
        funnels = [_funnel(dimension, one) for one in groups]
        seen = (one for one in funnels if one.accepted or one.failed or one.rejected)
        return sorted(seen, key=lambda one: (-one.accepted - one.rejected, one.name))

    return [
        ("Channel", by(Dimension.CHANNEL)),
        ("Plugin", by(Dimension.PLUGIN)),
        ("Country of text messages", by(Dimension.COUNTRY, Channel.SMS)[:MAX_COUNTRIES]),
    ]


def _funnel(dimension: Dimension, group: Group) -> Funnel:
    return Funnel(
        name=readable_name(dimension, group.key[0]),
        accepted=group.statuses[Status.ACCEPTED],
        delivered=group.statuses[Status.DELIVERED],
        opened=group.statuses[Status.OPENED],
        failed=group.statuses[Status.FAILED],
        rejected=group.statuses[Status.REJECTED],
    )


def _accepted_since(connection: Connection, clients: Sequence[str], moment: int) -> int:
    query = select(func.count()).where(
        statuses.c.seq >= _first_since(connection, moment), statuses.c.status == Status.ACCEPTED.value
    )
    if clients:
        query = query.where(one_of(statuses.c.client, clients))
    return connection.execute(query).scalar_one()


def _first_since(connection: Connection, moment: int) -> int:
    """Return the number from which on statuses became known at this moment or later.

    Numbers grow with time, so bisection finds it without an index on times.
    """
    last: int | None = connection.execute(select(func.max(statuses.c.seq))).scalar_one()
    low, high = 0, 0 if last is None else last + 1
    while low < high:
        middle = (low + high) // 2
        at_least = select(statuses.c.seq, statuses.c.recorded_at).where(statuses.c.seq >= middle)
        row = connection.execute(at_least.order_by(statuses.c.seq).limit(1)).one()
        low, high = (low, middle) if row.recorded_at >= moment else (row.seq + 1, high)
    return low
