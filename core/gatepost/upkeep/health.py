"""Whether the gateway would take and send messages, and how much waits: for load balancers and alarms."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from gatepost.config.settings import Routes
from gatepost.errors import StoreError
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox, QueueDepth
from gatepost.outbox.states import FINAL_STATES, CallbackState, State
from gatepost.throttle import BreakerSnapshot, BreakerState, Throttle

MISCONFIGURED = "misconfigured"
"""Stands beside the breaker's states: an instance may be so while it is usable, resting or probing."""

_STORED: tuple[tuple[str, str, list[str]], ...] = (
    ("queue_messages", "Messages not at their end", ["channel", "state"]),
    ("queue_age_seconds", "How long the longest waiting message is overdue", ["channel"]),
    ("callbacks_waiting", "Statuses whose turn it is to be told to Smartico", ["state"]),
    ("callbacks_age_seconds", "How long the oldest of these has been known", []),
    ("callbacks_dead", "Statuses that were given up: Smartico does not know them", []),
)
"""The figures that are read from the store: name, text, labels."""

_log = logs.get(__name__)


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What ``/health/ready`` answers."""

    ready: bool
    """Whether messages would be taken and sent."""
    problems: list[str]
    """What hinders that, and what an operator should look at although it does not."""
    instances: Mapping[str, Mapping[str, object]]


class Health:
    """Of one gateway."""

    def __init__(
        self, *, routes: Routes, outbox: Outbox, throttles: Mapping[str, Throttle], metrics: Metrics
    ) -> None:
        """``throttles``: of every sending instance, by its name."""
        self._routes = routes
        self._outbox = outbox
        self._throttles = throttles
        self._figures = _figures(QueueDepth())
        for name, text, labels in _STORED:
            metrics.gauge(name, text, labels, partial(self._figure, name))
        metrics.gauge(
            "plugin_breaker",
            "Whether an instance is usable, resting or probing; and whether it is misconfigured",
            ["plugin", "state"],
            self._breakers,
        )
        metrics.gauge(
            "ready",
            "Whether messages would be taken and sent now",
            [],
            lambda: {(): float(self.ready().ready)},
        )
        metrics.counter(
            "messages_ended",
            "Messages that came to an end, by the end",
            ["channel", "state"],
            lambda: self._outbox.end_counts,
        )

    def ready(self) -> Ready:
        """Whether messages would be taken and sent now."""
        conditions = self._conditions()
        hindrances = []
        if self._outbox.failure.done():
            hindrances = ["the store is broken"]
        elif self._outbox.is_failing:
            hindrances = ["the store refuses"]
        hindrances += [
            f"routes.{channel}: nobody on it can send now"
            for channel in Channel
            if (route := self._routes.of(channel))
            and all(conditions[name].state is BreakerState.RESTING for name in route)
        ]
        return Ready(
            ready=not hindrances,
            problems=[*hindrances, *_problems(conditions)],
            instances={
                name: {
                    "state": one.state,
                    "rests": round(one.rest_remaining, 1),
                    "misconfigured": one.misconfigured,
                    "reason": one.reason,
                }
                for name, one in conditions.items()
            },
        )

    def _figure(self, name: str) -> Mapping[tuple[str, ...], float]:
        return self._figures[name]

    def _conditions(self) -> dict[str, BreakerSnapshot]:
        now = asyncio.get_running_loop().time()
        return {name: throttle.snapshot(now) for name, throttle in self._throttles.items()}

    def _breakers(self) -> dict[tuple[str, str], float]:
        figures: dict[tuple[str, str], float] = {}
        for name, one in self._conditions().items():
            figures |= {(name, state): float(one.state is state) for state in BreakerState}
            figures[name, MISCONFIGURED] = float(one.misconfigured)
        return figures

    async def look(self) -> None:
        """Count what waits, for the metrics; what was counted last stands where the store has no answer."""
        try:
            depth = await self._outbox.depth()
        except StoreError as error:
            _log.warning("depth_unknown", reason=str(error))
            return
        self._figures = _figures(depth)


def _figures(depth: QueueDepth) -> dict[str, dict[tuple[str, ...], float]]:
    """The figures of _STORED; zeros too, because an alert knows nothing of a series that comes and goes."""
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


def _problems(conditions: Mapping[str, BreakerSnapshot]) -> Iterator[str]:
    """Name the instances that have a problem, also where a fallback works."""
    for name, one in conditions.items():
        if one.misconfigured:
            yield f"plugins.{name}: misconfigured: {one.reason}"
        elif one.state is BreakerState.RESTING:
            yield f"plugins.{name}: rests for {one.rest_remaining:.0f} s: {one.reason}"
