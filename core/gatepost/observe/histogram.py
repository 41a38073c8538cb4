"""A histogram of durations whose observations cost a fraction of a microsecond.

Each message is observed several times. The histogram of prometheus_client takes a lock and walks through its buckets,
which costs seven times as much; this one is used by the thread of the event loop alone.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds for what should take milliseconds."""

SLOW = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0)
"""Upper bounds in seconds for what may take from an instant to a day."""


class _Series:
    """The observations with the same labels."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


class Histogram(Collector):
    """Durations in seconds, by labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        """``bounds`` are the upper bounds of the buckets, in ascending order, without infinity."""
        self._name, self._text, self._labels = f"gatepost_{name}", text, labels
        self._bounds = bounds
        self._bucket_names = [*map(floatToGoString, bounds), "+Inf"]
        self._series: dict[tuple[str, ...], _Series] = {}

    def create(self, series: Collection[tuple[str, ...]]) -> None:
        """Create these series, by the values of their labels, so that they exist before their first observation."""
        for values in series:
            self._series.setdefault(values, _Series(len(self._bucket_names)))

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one duration."""
        try:
            series = self._series[labels]
        except KeyError:
            self.create([labels])
            series = self._series[labels]
        series.counts[bisect_left(self._bounds, seconds)] += 1
        series.total += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield what was observed, in the form of prometheus_client."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, series in self._series.items():
            cumulated = zip(self._bucket_names, accumulate(map(float, series.counts)), strict=True)
            family.add_metric(values, [*cumulated], series.total)
        yield family
