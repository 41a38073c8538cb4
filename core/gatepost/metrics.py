"""What is counted. Labels come from the configuration and from closed lists, never from a message.

``plugin`` is an instance's name: Prometheus has a label ``instance`` of its own.
"""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The handful that matters; one set a gateway, so that two in one process don't mix."""

    def __init__(self) -> None:
        # When each series began is of no use here and doubles their number.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._answers: dict[tuple[str, str, int], Counter] = {}
        self.answers = Counter(
            "gatepost_answers",
            "Requests of Smartico by the error_code they were answered with",
            ["client", "channel", "code"],
            registry=self.registry,
        )
        self.sends = Counter(
            "gatepost_sends",
            "Tries to send by what came of them: sent, rejected, unavailable, uncertain",
            ["plugin", "outcome"],
            registry=self.registry,
        )
        self.text_parts = Counter(
            "gatepost_text_parts",
            "Mails that brought no text part, by what came of it: derived, empty, too_large, failed",
            ["client", "outcome"],
            registry=self.registry,
        )
        self.events = Counter(
            "gatepost_webhook_events",
            "What providers reported: a status, repeated, unknown (no such message), or ignored.KIND",
            ["plugin", "kind"],
            registry=self.registry,
        )
        self.webhooks = Counter(
            "gatepost_webhooks",
            "Requests of providers by the HTTP status they were answered with",
            ["plugin", "status"],
            registry=self.registry,
        )
        self.callbacks = Counter(
            "gatepost_callbacks",
            "Calls to Smartico by status and what came of them: told, retry, dead",
            ["status", "outcome"],
            registry=self.registry,
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

    def gauge(self, name: str, text: str, labels: list[str], read: Callable[[], dict[Any, float]]) -> None:
        """Add a figure that is read when somebody looks; ``read`` gives values by tuples of labels."""
        self.registry.register(_Read(name, text, labels, read))


class _Read(Collector):
    def __init__(self, name: str, text: str, labels: list[str], read: Callable[[], dict[Any, float]]) -> None:
        self._made = name, text, labels
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        name, text, labels = self._made
        family = GaugeMetricFamily(name, text, labels=labels)
        for values, figure in self._read().items():
            family.add_metric(list(values), figure)
        yield family
