"""What is counted. Labels come from the configuration and from closed lists, never from a message.

``plugin`` is an instance's name: Prometheus has a label ``instance`` of its own.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gatepost.errors import Code
from gatepost.model import Channel, Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SEND_OUTCOMES = ("sent", "rejected", "unavailable", "uncertain")
CALLBACK_OUTCOMES = ("acknowledged", "retry", "dead")
TEXT_PART_OUTCOMES = ("derived", "empty", "too_large", "failed")
WEBHOOK_STATUSES = (200, 400, 401, 404, 503)
EVENT_KINDS = (*Status, "repeated", "unknown", "ignored.invalid", "ignored.malformed")


class Metrics:
    """The handful that matters; one set a gateway, so that two in one process don't mix.

    Each series exists from the start, at zero: Prometheus sees no increase in one that begins at its first
    event, and an alert on it would miss that event. Only ``ignored.KIND`` has kinds that a plugin makes up.
    """

    def __init__(
        self,
        *,
        clients: Collection[str] = (),
        providers: Collection[str] = (),
        reporters: Collection[str] = (),
    ) -> None:
        """``providers``: the instances that send; ``reporters``: those that take webhooks."""
        # When each series began is of no use here and doubles their number.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._answers: dict[tuple[str, str, int], Counter] = {}
        self.answers = self._counter(
            "answers",
            "Requests of Smartico by the error_code they were answered with",
            {"client": ["", *clients], "channel": Channel, "code": [int(code) for code in Code]},
        )
        self.sends = self._counter(
            "sends",
            "Tries to send by what came of them: sent, rejected, unavailable, uncertain",
            {"plugin": providers, "outcome": SEND_OUTCOMES},
        )
        self.text_parts = self._counter(
            "text_parts",
            "Mails that brought no text part, by what came of it: derived, empty, too_large, failed",
            {"client": clients, "outcome": TEXT_PART_OUTCOMES},
        )
        self.events = self._counter(
            "webhook_events",
            "What providers reported: a status, repeated, unknown (no such message), or ignored.KIND",
            {"plugin": reporters, "kind": EVENT_KINDS},
        )
        self.webhooks = self._counter(
            "webhooks",
            "Requests of providers by the HTTP status they were answered with",
            {"plugin": reporters, "status": WEBHOOK_STATUSES},
        )
        self.callbacks = self._counter(
            "callbacks",
            "Calls to Smartico by status and what came of them: told, retry, dead",
            {"status": Status, "outcome": CALLBACK_OUTCOMES},
        )

    def answered(self, client: str, channel: str, code: int) -> None:
        """Count an answer; on the way of every request, so the series are looked up but once."""
        series = self._answers.get((client, channel, code))
        if series is None:
            series = self._answers[client, channel, code] = self.answers.labels(
                client, channel, str(int(code))
            )
        series.inc()

    def expose(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self.registry)

    def gauge(self, name: str, text: str, labels: list[str], read: Callable[[], Mapping[Any, float]]) -> None:
        """Add a figure that is read at each scrape; ``read`` gives values by tuples of labels."""
        self.registry.register(_Read(GaugeMetricFamily, f"gatepost_{name}", text, labels, read))

    def counter(
        self, name: str, text: str, labels: list[str], read: Callable[[], Mapping[Any, float]]
    ) -> None:
        """Add a count that is kept elsewhere, and read in the same way."""
        self.registry.register(_Read(CounterMetricFamily, f"gatepost_{name}", text, labels, read))

    def _counter(self, name: str, text: str, labels: Mapping[str, Iterable[object]]) -> Counter:
        made = Counter(f"gatepost_{name}", text, list(labels), registry=self.registry)
        for values in product(*labels.values()):
            made.labels(*values)
        return made


class _Read(Collector):
    def __init__(
        self,
        family: type[GaugeMetricFamily | CounterMetricFamily],
        name: str,
        text: str,
        labels: list[str],
        read: Callable[[], Mapping[Any, float]],
    ) -> None:
        self._family = family
        self._made = name, text, labels
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        name, text, labels = self._made
        family = self._family(name, text, labels=labels)
        for values, figure in self._read().items():
            family.add_metric(list(values), figure)
        yield family
