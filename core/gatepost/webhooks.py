"""Webhooks: a provider's report is verified, translated and recorded."""

import time
from collections import Counter
from collections.abc import Callable, Mapping

from gatepost.body_limit import BodyLimit
from gatepost.config.routes import Routes
from gatepost.errors import (
    BadSignature,
    BadWebhook,
    NoVerificationKey,
    StoreError,
    WebhookError,
    WebhookRetry,
)
from gatepost.model import Channel, Report, WebhookRequest
from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox, ReportedEvents
from gatepost.plugin_host.instances import Instance

MAX_BODY = 8 * 1_048_576
"""Bytes of a report that are read; the batches of SendGrid, the largest known, end at 768 KB."""

MAX_BODIES = 64 * 1_048_576
"""Bytes of all reports in memory together. Anyone may send one; only the verification shows whom it is from."""

REFUSAL_PERIOD = 600.0
"""Seconds after the last refusal for which an instance's reports count as refused. Anyone may send what is refused, so
a single request must not count for longer."""

EVENTS_PER_TRANSACTION = 2_000
"""Events that are recorded in one transaction, so that the other work of the store never waits long."""

_STATUSES: Mapping[type[WebhookError], int] = {
    NoVerificationKey: 404,
    BadSignature: 401,
    BadWebhook: 400,
    WebhookRetry: 503,
}

_log = logs.get(__name__)


class Webhooks:
    """The handler of all webhooks of one gateway."""

    def __init__(
        self,
        instances: Mapping[str, Instance],
        routes: Routes,
        outbox: Outbox,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._instances = {name: instance for name, instance in instances.items() if instance.takes_webhooks}
        self._channels = {
            name: frozenset(channel for channel in Channel if name in routes.instances(channel))
            for name in self._instances
        }
        self._outbox = outbox
        self._metrics = metrics
        self.bodies = BodyLimit(MAX_BODIES)
        self._clock = clock
        self._refusals = LogThrottle(clock)
        self._refused_at: dict[str, float] = {}
        """When a webhook was last refused, of each instance that has not had one accepted since."""

    @property
    def refused_instances(self) -> frozenset[str]:
        """The instances whose reports can't come in: the last webhook was refused, a short time ago."""
        earliest = self._clock() - REFUSAL_PERIOD
        return frozenset(name for name, refused_at in self._refused_at.items() if refused_at > earliest)

    async def handle(self, name: str, request: WebhookRequest) -> int:
        """Record the report for this instance; return the HTTP status of the answer.

        It is 2xx only when everything in the request is on disk.
        """
        instance = self._instances.get(name)
        if instance is None:
            return 404
        try:
            report = await instance.parse_webhook(request)
            await self._record(name, report)
        except WebhookError as error:
            status = _STATUSES[type(error)]
            # Anyone may send requests that are refused, so the log is throttled; the metrics count all of them.
            if self._refusals.due(f"{name} {status}"):
                _log.warning("webhook_refused", instance=name, status=status, reason=str(error))
        except StoreError as error:
            status = 503
            _log.error("webhook_not_stored", instance=name, status=status, reason=str(error))
        else:
            status = 200
        if status == 200:
            self._refused_at.pop(name, None)
        else:
            self._refused_at[name] = self._clock()
        self._metrics.webhooks.labels(name, str(status)).inc()
        return status

    async def _record(self, name: str, report: Report) -> None:
        unknown = 0
        channels = self._channels[name]
        for start in range(0, len(report.events), EVENTS_PER_TRANSACTION):
            events = report.events[start : start + EVENTS_PER_TRANSACTION]
            recorded = await self._outbox.record(
                ReportedEvents(instance=name, events=events, channels=channels)
            )
            unknown += recorded.unknown
            self._count(name, {"repeated": recorded.repeated, "unknown": recorded.unknown})
        self._count(name, Counter(event.status.value for event in report.events))
        self._count(name, {f"ignored.{kind}": count for kind, count in report.ignored.items()})
        malformed = report.ignored.get("malformed", 0) + report.ignored.get("invalid", 0)
        if malformed or unknown:
            _log.warning(
                "webhook_events_not_recorded",
                instance=name,
                malformed=malformed,
                unknown=unknown,
                events=len(report.events),
            )

    def _count(self, name: str, counts: Mapping[str, int]) -> None:
        for kind, count in counts.items():
            if count:
                self._metrics.events.labels(name, kind).inc(count)
