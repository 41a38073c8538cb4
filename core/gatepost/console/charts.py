"""The data of a chart over time, which ``static/charts.js`` draws."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from gatepost.model import Status
from gatepost.outbox.counters import DAY
from gatepost.outbox.statistics import HOUR
from gatepost.outbox.statistics_report import Dimension, Group

STEPS = {Dimension.HOUR: HOUR, Dimension.DAY: DAY}
"""The dimensions that are times, and how many milliseconds each has."""

DRAWN = (Status.ACCEPTED, Status.DELIVERED, Status.FAILED)


class Series(msgspec.Struct, frozen=True):
    """One line."""

    name: str
    values: Sequence[int]


class Chart(msgspec.Struct, frozen=True):
    """Lines over the same times."""

    step: str
    """``hour`` or ``day``."""
    times: Sequence[int]
    """Seconds since the epoch: when each step begins."""
    series: Sequence[Series]

    def data(self) -> dict[str, Any]:
        """Return what the browser gets."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def rows(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield each time with the values of all lines."""
        yield from zip(self.times, zip(*(one.values for one in self.series), strict=True), strict=True)

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened at any time."""
        return not any(value for one in self.series for value in one.values)


def draw(groups: Sequence[Group], step: Dimension, begin: int, end: int, *, by_plugin: bool = False) -> Chart:
    """Return the chart of groups whose only dimension is this step, from ``begin`` on and before ``end``, in milliseconds.

    A time at which nothing happened has zeros. ``by_plugin``: the messages from Smartico are not counted.
    """
    found = {_begin_of(group.key[0]): group for group in groups}
    length = STEPS[step]
    times = [moment // 1000 for moment in range(begin - begin % length, end, length)]
    drawn = [found.get(moment) or Group(("",)) for moment in times]
    series = [Series(one.value, [group.statuses[one] for group in drawn]) for one in DRAWN]
    if not by_plugin:
        series.insert(0, Series("messages", [group.messages or 0 for group in drawn]))
    return Chart(step.value, times, series)


def _begin_of(key: str) -> int:
    named = datetime.fromisoformat(key)
    return round((named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp())
