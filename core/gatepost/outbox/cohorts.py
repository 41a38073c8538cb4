"""The counts that the shares of a split route follow: messages by the minute of their send, and where the store has them.

A send adds to SENT, and the first report of its delivery to DELIVERED, both in the minute of the send. So a late report
improves the minute that it belongs to, and not the one in which it comes. Each count is a number in the table `counters`.
"""

from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

GRACE = 3
"""Minutes that every message has to be delivered in before it is compared."""
WINDOWS = (10, 30, 60)
"""Minutes that are compared: the shortest of these windows that is enough for a verdict."""

_MINUTE = 60_000
_SCOPE = "receipts"

SCOPE_PREFIX = f"{_SCOPE}/"
"""How the scopes of all these counts begin."""


class Counted(StrEnum):
    """What is counted of the messages of an instance."""

    SENT = "sent"
    """Messages that the instance took at the first try. A later try has other messages than the split gives out."""
    DELIVERED = "delivered"
    """Those of them that were reported as delivered, each once."""


class Group(NamedTuple):
    """What is compared with each other: the instances of one route in one country."""

    route: str
    country: str
    """Two letters, such as GB; empty where the recipient has no country."""


class Cohort(NamedTuple):
    """Messages that an instance took in one minute; several cohorts of the same minute add up."""

    instance: str
    minute: int
    """Minutes since 1970 at which they were sent."""
    sent: int
    delivered: int
    """Those of them that were reported as delivered until now."""


def minute_of(at: int) -> int:
    """Return the minute of a time in milliseconds."""
    return at // _MINUTE


def oldest_period(now: int) -> int:
    """Return the period of the oldest counts that matter, in milliseconds; what is older can be deleted.

    A report about a message that was sent before need not be counted.
    """
    return (minute_of(now) - GRACE - WINDOWS[-1]) * _MINUTE


def counter_key(group: Group, instance: str, sent_at: int, counted: Counted) -> tuple[int, str]:
    """Return the period and the scope of a count, for a send at a time in milliseconds."""
    return sent_at - sent_at % _MINUTE, f"{SCOPE_PREFIX}{group.route}/{group.country}/{instance}/{counted}"


def cohorts(rows: Iterable[tuple[int, str, int]]) -> dict[Group, list[Cohort]]:
    """Return the cohorts by group, from rows of counters: period, scope and value. Other scopes are left out."""
    found: defaultdict[Group, list[Cohort]] = defaultdict(list)
    for period, scope, value in rows:
        match scope.split("/"):
            case [kind, route, country, instance, Counted.SENT] if kind == _SCOPE:
                cohort = Cohort(instance, minute_of(period), value, 0)
            case [kind, route, country, instance, Counted.DELIVERED] if kind == _SCOPE:
                cohort = Cohort(instance, minute_of(period), 0, value)
            case _:
                continue
        found[Group(route, country)].append(cohort)
    return dict(found)
