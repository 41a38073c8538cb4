"""The handler of webhooks, and of what plugins report by themselves."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from gatepost.body_limit import BodyLimit
from gatepost.config.networks import Address
from gatepost.config.routes import Routes
from gatepost.contacts.users import UserSearch
from gatepost.errors import (
    BadSignature,
    BadWebhook,
    NoVerificationKey,
    StoreError,
    Unavailable,
    WebhookError,
)
from gatepost.model import Channel, Report, StatusEvent, WebhookAnswer, WebhookRequest
from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox, ReportedEvents
from gatepost.plugin_host.instances import Instance
from gatepost.webhooks.recipients import RecipientResolver

MAX_BODY = 8 * 1_048_576
"""Bytes of a report that are read; the batches of SendGrid, the largest known, end at 768 KB."""

MAX_BODIES = 64 * 1_048_576
"""Bytes of all reports in memory together. Anyone may send one; only the verification shows whom it is from."""

REFUSAL_PERIOD = 600.0
"""Seconds after the last refusal for which an instance's reports count as refused. Anyone may send what is refused, so
a single request must not count for longer."""

EVENTS_PER_TRANSACTION = 2_000
"""Events that are recorded in one transaction, so that the other work of the store never waits long."""

_log = logs.get(__name__)


class _AddressNotListed(WebhookError):
    """A request from an address that is in none of the instance's ``webhook_networks``."""


_STATUSES: Mapping[type[Exception], int] = {
    # As for an unknown name: an address that is not the provider's learns of no instance.
    _AddressNotListed: 404,
    NoVerificationKey: 404,
    BadSignature: 401,
    BadWebhook: 400,
}
"""The statuses of refusals; of all others it is the plugin's ``retry_status``."""


class Webhooks:
    """The handler of all reports of one gateway."""

    def __init__(
        self,
        instances: Mapping[str, Instance],
        routes: Routes,
        outbox: Outbox,
        users: UserSearch,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._instances = instances
        self._channels = {
            name: frozenset(channel for channel in Channel if name in routes.instances(channel))
            for name in instances
        }
        self._outbox = outbox
        self._recipients = RecipientResolver(users, outbox)
        self._metrics = metrics
        self.bodies = BodyLimit(MAX_BODIES)
        self._clock = clock
        self._log_throttle = LogThrottle(clock)
        self._refused_at: dict[str, float] = {}
        """When a webhook was last refused, of each instance that has not had one accepted since."""

    @property
    def refused_instances(self) -> frozenset[str]:
        """The instances whose reports can't come in: the last webhook was refused, a short time ago."""
        earliest = self._clock() - REFUSAL_PERIOD
        return frozenset(name for name, refused_at in self._refused_at.items() if refused_at > earliest)

    def retry_status(self, name: str) -> int:
        """Return the status after which the provider of this instance repeats; 503 where no such one takes webhooks."""
        instance = self._instances.get(name)
        return instance.retry_status if instance is not None and instance.takes_webhooks else 503

    async def handle(
        self, name: str, request: WebhookRequest, address: Address | None = None
    ) -> WebhookAnswer:
        """Record the report for this instance; return the answer to the provider.

        ``address`` is where the request comes from, as the trusted proxies say; None where it is unknown. Only when
        everything in the request is on disk, its status is 2xx or one that the plugin chose.
        """
        instance = self._instances.get(name)
        if instance is None or not instance.takes_webhooks:
            return WebhookAnswer(status=404)
        try:
            report = await instance.parse_webhook(_listed(request, address, instance))
            await self._record(name, report)
        except (WebhookError, Unavailable) as error:
            status = _STATUSES.get(type(error), instance.retry_status)
            # Anyone may send requests that are refused, so the log is throttled; the metrics count all of them.
            if self._log_throttle.due(f"{name} {status}"):
                _log.warning("webhook_refused", instance=name, status=status, reason=str(error))
        except StoreError as error:
            status = instance.retry_status
            _log.error("webhook_not_stored", instance=name, status=status, reason=str(error))
        else:
            self._refused_at.pop(name, None)
            return self._counted(name, report.answer or WebhookAnswer())
        self._refused_at[name] = self._clock()
        return self._counted(name, WebhookAnswer(status=status))

    async def record(self, name: str, report: Report) -> int:
        """Record what an instance reports by itself, outside a webhook; return how many events are of no known message.

        Raises Unavailable when not all of it is on disk afterwards, and TypeError for anything but a Report.
        """
        copy = self._instances[name].reports.copy_own(report)
        problem = ""
        unknown = 0
        try:
            unknown = await self._record(name, copy)
        except Unavailable as error:
            problem = error.reason
        except StoreError as error:
            problem = "the store can't take it now"
            if self._log_throttle.due(f"{name} report"):
                _log.error("report_not_stored", instance=name, reason=str(error))
        except Exception as error:  # noqa: BLE001  the plugin reports the same again
            problem = "an internal error"
            _log.error("internal_error", instance=name, exc_info=error)
        self._metrics.reports.labels(name, "unavailable" if problem else "recorded").inc()
        # Outside of the except blocks: the store's error would become this error's context.
        if problem:
            raise Unavailable(problem)
        return unknown

    async def _record(self, name: str, report: Report) -> int:
        """Record a report; return how many events are of no known message.

        Raises StoreError, and Unavailable when a contact source can't answer now.
        """
        unknown, of_recipients = await self._record_events(name, report.events)
        ignored = Counter(report.ignored)
        if of_recipients:
            resolved = await self._recipients.resolve(name, of_recipients)
            ignored["invalid"] += resolved.invalid
            self._count(name, {"unknown": resolved.unknown})
            unknown += resolved.unknown + (await self._record_events(name, resolved.events))[0]
        self._count(name, Counter(event.status.value for event in report.events))
        self._count(name, {f"ignored.{kind}": count for kind, count in ignored.items()})
        malformed = ignored["malformed"] + ignored["invalid"]
        # Some plugins report what strangers send, so the log is throttled; the metrics count all of them.
        if (malformed or unknown) and self._log_throttle.due(f"{name} events"):
            _log.warning(
                "reported_events_not_recorded",
                instance=name,
                malformed=malformed,
                unknown=unknown,
                events=len(report.events),
            )
        return unknown

    async def _record_events(
        self, name: str, all_events: Sequence[StatusEvent]
    ) -> tuple[int, Sequence[StatusEvent]]:
        """Record the events of known messages.

        Return how many others there are, without those that name a recipient, and those that do.
        """
        unknown = 0
        of_recipients: list[StatusEvent] = []
        for start in range(0, len(all_events), EVENTS_PER_TRANSACTION):
            events = all_events[start : start + EVENTS_PER_TRANSACTION]
            recorded = await self._outbox.record(
                ReportedEvents(instance=name, events=events, channels=self._channels[name])
            )
            of_recipients += recorded.with_recipient
            without_recipient = recorded.unknown - len(recorded.with_recipient)
            unknown += without_recipient
            self._count(name, {"repeated": recorded.repeated, "unknown": without_recipient})
        return unknown, of_recipients

    def _counted(self, name: str, answer: WebhookAnswer) -> WebhookAnswer:
        self._metrics.webhooks.labels(name, str(answer.status)).inc()
        return answer

    def _count(self, name: str, counts: Mapping[str, int]) -> None:
        for kind, count in counts.items():
            if count:
                self._metrics.events.labels(name, kind).inc(count)


def _listed(request: WebhookRequest, address: Address | None, instance: Instance) -> WebhookRequest:
    """Return the request, marked where it comes from a listed network; raise when it comes from another one."""
    networks = instance.settings.webhook_networks
    if not networks:
        return request
    if address is None or not any(address in network for network in networks):
        raise _AddressNotListed(
            "the client address is not in webhook_networks; behind a proxy, server.trusted_proxies must list the proxy"
        )
    return msgspec.structs.replace(request, network_listed=True)
