"""The metrics of one gateway. Labels come from the configuration and from closed lists, never from a message.

The label ``plugin`` is the name of an instance: Prometheus has a label ``instance`` of its own.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gatepost.errors import Code
from gatepost.model import NO_COUNTS, Channel, Status
from gatepost.observe.histogram import FAST, SLOW, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SEND_OUTCOMES = ("sent", "rejected", "unavailable", "uncertain")
CALLBACK_OUTCOMES = ("acknowledged", "retry", "dead")
TEXT_PART_OUTCOMES = ("derived", "empty", "too_large", "failed")
WEBHOOK_STATUSES = (200, 400, 401, 404)
REPORT_OUTCOMES = ("recorded", "unavailable")
LINK_OUTCOMES = ("recorded", "repeated", "unknown", "invalid", "unavailable")
PIXEL_LOADERS = ("program", "google", "yahoo", "machine")
EVENT_KINDS = (*Status, "repeated", "unknown", "ignored.invalid", "ignored.malformed")

# The time at which each series was created is not needed, and would double the number of series.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one gateway, in a registry of their own, so that two gateways in a process don't mix.

    Each series exists from the start, at zero: Prometheus sees no increase in a series that begins at its first
    event, and an alert on it would miss that event. The exceptions are ``ignored.KIND``, with kinds that a plugin
    defines, and statuses of answers that a plugin chose.
    """

    def __init__(
        self,
        *,
        clients: Collection[str] = (),
        providers: Collection[str] = (),
        reporters: Collection[str] = (),
        webhooks: Mapping[str, int] = NO_COUNTS,
        previous: "Metrics | None" = None,
    ) -> None:
        """Create all series; what ``previous`` has counted goes on, also for whoever still works with it.

        ``providers`` are the instances that send, ``reporters`` those that may report, and ``webhooks`` those that
        take webhooks, with the HTTP status that asks their providers to repeat.
        """
        self.registry = CollectorRegistry()
        self.counted: dict[str, Counter | Histogram] = dict(previous.counted) if previous else {}
        ProcessCollector(registry=self.registry)
        self._series: dict[tuple[object, ...], Counter] = {}
        self.answers = self._counter(
            "answers",
            "Requests of Smartico, by the error_code of the answer",
            {"client": ["", *clients], "channel": Channel, "code": [int(code) for code in Code]},
        )
        self.sends = self._counter(
            "sends",
            "Attempts to send, by outcome: sent, rejected, unavailable, uncertain",
            {"plugin": providers, "outcome": SEND_OUTCOMES},
        )
        self.callbacks = self._counter(
            "callbacks",
            "Callbacks to Smartico, by message status and outcome: acknowledged, retry, dead",
            {"status": Status, "outcome": CALLBACK_OUTCOMES},
        )
        self._create_compositions(clients)
        self._create_reports(reporters, webhooks)
        self._create_links()
        self._create_durations(clients, providers)

    def _create_compositions(self, clients: Collection[str]) -> None:
        self.text_parts = self._counter(
            "text_parts",
            "Emails that came without a text part, by the result of deriving one from the HTML: derived, empty, too_large, failed",
            {"client": clients, "outcome": TEXT_PART_OUTCOMES},
        )
        self.empty_merge_fields = self._counter(
            "empty_merge_fields",
            "Merge fields that were filled with nothing: the contact has no such attribute, and the field no default",
            {"client": clients},
        )

    def _create_reports(self, reporters: Collection[str], webhooks: Mapping[str, int]) -> None:
        self.events = self._counter(
            "reported_events",
            "Events that providers reported, by kind: a status, repeated, unknown (no such message), or ignored.KIND",
            {"plugin": reporters, "kind": EVENT_KINDS},
        )
        self.webhooks = self._counter(
            "webhooks",
            "Requests of providers, by the HTTP status of the answer",
            {"plugin": webhooks, "status": WEBHOOK_STATUSES},
        )
        for plugin, retry_status in webhooks.items():
            self.webhooks.labels(plugin, str(retry_status))
        self.reports = self._counter(
            "plugin_reports",
            "Reports of plugins that did not come by a webhook, by outcome: recorded, unavailable",
            {"plugin": reporters, "outcome": REPORT_OUTCOMES},
        )

    def _create_links(self) -> None:
        self.link_requests = self._counter(
            "link_requests",
            "Requests for the links in mails, by outcome: recorded, repeated, machine, unknown (no such message), "
            "invalid (no token), unavailable",
            {"link": ["unsubscribe", "open"], "outcome": LINK_OUTCOMES},
        )
        self.link_requests.labels("open", "machine")
        self.pixel_loads = self._counter(
            "pixel_loads",
            "Mails whose pixel was loaded, by what loaded it: program, google, yahoo, machine",
            {"loader": PIXEL_LOADERS},
        )

    def _create_durations(self, clients: Collection[str], providers: Collection[str]) -> None:
        self.accept_duration = self._histogram(
            "accept_duration_seconds",
            "Time from a request of Smartico to its answer",
            {"channel": Channel},
            FAST,
        )
        self.queue_wait = self._histogram(
            "queue_wait_seconds",
            "Time from the acceptance of a message to its first try",
            {"channel": Channel},
            SLOW,
        )
        self.send_duration = self._histogram(
            "send_duration_seconds", "Time that a try to send took", {"plugin": providers}, FAST
        )
        self.callback_duration = self._histogram(
            "callback_duration_seconds", "Time that a call to Smartico took", {"client": clients}, FAST
        )
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop ran a task that was due", {}, FAST
        )

    def count(self, counter: Counter, *labels: object) -> None:
        """Count one in a series. It is looked up only once, which takes longer than to count."""
        series = self._series.get((counter, labels))
        if series is None:
            series = self._series[counter, labels] = counter.labels(*labels)
        series.inc()

    def count_answer(self, client: str, channel: str, code: int, seconds: float) -> None:
        """Count an answer after this time."""
        self.count(self.answers, client, channel, int(code))
        self.accept_duration.observe(seconds, channel)

    def expose(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def add_gauge(
        self, name: str, text: str, labels: list[str], collect: Callable[[], Mapping[Any, float]]
    ) -> None:
        """Add a gauge whose values ``collect`` returns at each scrape, by tuples of labels."""
        self.registry.register(_CallbackMetric(GaugeMetricFamily, f"gatepost_{name}", text, labels, collect))

    def add_counter(
        self, name: str, text: str, labels: list[str], collect: Callable[[], Mapping[Any, float]]
    ) -> None:
        """Add a counter whose values ``collect`` returns at each scrape, by tuples of labels."""
        self.registry.register(
            _CallbackMetric(CounterMetricFamily, f"gatepost_{name}", text, labels, collect)
        )

    def add_histogram(self, histogram: Histogram) -> None:
        """Add a histogram that is observed elsewhere."""
        self.registry.register(histogram)

    def _histogram(
        self, name: str, text: str, labels: Mapping[str, Iterable[str]], bounds: Sequence[float]
    ) -> Histogram:
        histogram = self.counted.setdefault(name, Histogram(name, text, list(labels), bounds))
        assert isinstance(histogram, Histogram)
        histogram.create([*product(*labels.values())])
        self.add_histogram(histogram)
        return histogram

    def _counter(self, name: str, text: str, labels: Mapping[str, Iterable[object]]) -> Counter:
        counter = self.counted.setdefault(
            name, Counter(f"gatepost_{name}", text, list(labels), registry=None)
        )
        assert isinstance(counter, Counter)
        self.registry.register(counter)
        for values in product(*labels.values()):
            counter.labels(*values)
        return counter


class _CallbackMetric(Collector):
    """A metric whose values are computed by a function at each scrape."""

    def __init__(
        self,
        family: type[GaugeMetricFamily | CounterMetricFamily],
        name: str,
        text: str,
        labels: list[str],
        collect: Callable[[], Mapping[Any, float]],
    ) -> None:
        self._family = family
        self._description = name, text, labels
        self._collect = collect

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        name, text, labels = self._description
        family = self._family(name, text, labels=labels)
        for values, number in self._collect().items():
            family.add_metric(list(values), number)
        yield family
