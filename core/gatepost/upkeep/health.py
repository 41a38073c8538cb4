"""The readiness of the gateway and the depth of its queues, for load balancers and alerts."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from gatepost.config.routes import Routes
from gatepost.errors import StoreError
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox, QueueDepth
from gatepost.outbox.states import FINAL_STATES, CallbackState, State
from gatepost.throttle import BreakerSnapshot, BreakerState, Throttle

MISCONFIGURED = "misconfigured"
"""Shown beside the states of the breaker: an instance may be misconfigured in each of them."""

_QUEUE_GAUGES: tuple[tuple[str, str, list[str]], ...] = (
    ("queue_messages", "Messages that have not ended", ["channel", "state"]),
    ("queue_age_seconds", "How long the longest waiting message is overdue", ["channel"]),
    ("callbacks_waiting", "Statuses whose callback is due or in flight", ["state"]),
    ("callbacks_age_seconds", "Age of the oldest of these statuses", []),
    ("callbacks_dead", "Statuses whose callbacks were given up, so that Smartico does not know them", []),
)
"""The gauges that are read from the store: name, description, labels."""

_log = logs.get(__name__)


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``/health/ready``."""

    ready: bool
    """Whether messages would be accepted and sent."""
    problems: list[str]
    """What prevents that, and then what an operator should look at although it does not."""
    instances: Mapping[str, Mapping[str, object]]
    """The state of each sending instance's breaker, by the instance's name."""


class HealthCheck:
    """Judges the readiness of one gateway, and adds it and the depth of the queues to the metrics."""

    def __init__(
        self, *, routes: Routes, outbox: Outbox, throttles: Mapping[str, Throttle], metrics: Metrics
    ) -> None:
        """Add the gauges to ``metrics``; ``throttles`` are those of every sending instance, by its name."""
        self._routes = routes
        self._outbox = outbox
        self._throttles = throttles
        self._queue_values = _queue_values(QueueDepth())
        for name, text, labels in _QUEUE_GAUGES:
            metrics.add_gauge(name, text, labels, partial(self._queue_gauge, name))
        metrics.add_gauge(
            "plugin_breaker",
            "Whether an instance is usable, resting or probing; and whether it is misconfigured",
            ["plugin", "state"],
            self._breaker_gauge,
        )
        metrics.add_gauge(
            "ready",
            "Whether messages would be accepted and sent now",
            [],
            lambda: {(): float(self.readiness().ready)},
        )
        metrics.add_counter(
            "messages_ended",
            "Messages that have ended, by their last state",
            ["channel", "state"],
            lambda: self._outbox.end_counts,
        )

    def readiness(self) -> Readiness:
        """Judge whether messages would be accepted and sent now."""
        breakers = self._breakers()
        blockers = [*self._store_blockers(), *self._route_blockers(breakers)]
        return Readiness(
            ready=not blockers,
            problems=[*blockers, *_instance_problems(breakers)],
            instances={
                name: {
                    "state": one.state,
                    "retry_in_seconds": round(one.rest_remaining, 1),
                    "misconfigured": one.misconfigured,
                    "reason": one.reason,
                }
                for name, one in breakers.items()
            },
        )

    async def update_queue_depth(self) -> None:
        """Read the depth of the queues for the metrics, which keep their values where the store can't be read."""
        try:
            depth = await self._outbox.depth()
        except StoreError as error:
            _log.warning("queue_depth_unknown", reason=str(error))
            return
        self._queue_values = _queue_values(depth)

    def _store_blockers(self) -> Iterator[str]:
        if self._outbox.failure.done():
            yield "the store is broken"
        elif self._outbox.is_failing:
            yield "the store refuses writes"

    def _route_blockers(self, breakers: Mapping[str, BreakerSnapshot]) -> Iterator[str]:
        for channel in Channel:
            route = self._routes.instances(channel)
            if route and all(breakers[name].state is BreakerState.RESTING for name in route):
                yield f"routes.{channel}: none of its plugins can send now"

    def _breakers(self) -> dict[str, BreakerSnapshot]:
        now = asyncio.get_running_loop().time()
        return {name: throttle.snapshot(now) for name, throttle in self._throttles.items()}

    def _queue_gauge(self, name: str) -> Mapping[tuple[str, ...], float]:
        return self._queue_values[name]

    def _breaker_gauge(self) -> dict[tuple[str, str], float]:
        values: dict[tuple[str, str], float] = {}
        for name, one in self._breakers().items():
            values |= {(name, state): float(one.state is state) for state in BreakerState}
            values[name, MISCONFIGURED] = float(one.misconfigured)
        return values


def _queue_values(depth: QueueDepth) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the values of _QUEUE_GAUGES, zeros included, because an alert can't use a series that comes and goes."""
    return {
        "queue_messages": {
            (channel, state): depth.messages.get((channel, state), 0)
            for channel in Channel
            for state in State
            if state not in FINAL_STATES
        },
        "queue_age_seconds": {(channel,): depth.oldest.get(channel, 0.0) for channel in Channel},
        "callbacks_waiting": {
            (one,): depth.callbacks.get(one, 0) for one in (CallbackState.QUEUED, CallbackState.CALLING)
        },
        "callbacks_age_seconds": {(): depth.callbacks_age},
        "callbacks_dead": {(): depth.callbacks_dead},
    }


def _instance_problems(breakers: Mapping[str, BreakerSnapshot]) -> Iterator[str]:
    """Describe the problem of each instance that has one, also where another of its route can send."""
    for name, one in breakers.items():
        if one.misconfigured:
            yield f"plugins.{name}: misconfigured: {one.reason}"
        elif one.state is BreakerState.RESTING:
            yield f"plugins.{name}: rests for {one.rest_remaining:.0f} s: {one.reason}"
