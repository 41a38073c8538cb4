"""The readiness of the gateway and the state of its plugins, for load balancers and alerts."""

import asyncio
from collections.abc import Iterator, Mapping

import msgspec

from gatepost.config.routes import Routes
from gatepost.model import Channel
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox
from gatepost.throttle import BreakerSnapshot, BreakerState, Throttle

MISCONFIGURED = "misconfigured"
"""Shown beside the states of the breaker: an instance may be misconfigured in each of them."""


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``/health/ready``."""

    ready: bool
    """Whether messages would be accepted and sent."""
    problems: list[str]
    """What prevents that, and then what an operator should look at although it does not."""
    instances: Mapping[str, Mapping[str, object]]
    """The state of each sending instance's breaker, by the instance's name."""


class HealthCheck:
    """Judges the readiness of one gateway, and adds it and the state of each breaker to the metrics."""

    def __init__(
        self, *, routes: Routes, outbox: Outbox, throttles: Mapping[str, Throttle], metrics: Metrics
    ) -> None:
        """Add the gauges to ``metrics``; ``throttles`` are those of every sending instance, by its name."""
        self._routes = routes
        self._outbox = outbox
        self._throttles = throttles
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

    def _breaker_gauge(self) -> dict[tuple[str, str], float]:
        values: dict[tuple[str, str], float] = {}
        for name, one in self._breakers().items():
            values |= {(name, state): float(one.state is state) for state in BreakerState}
            values[name, MISCONFIGURED] = float(one.misconfigured)
        return values


def _instance_problems(breakers: Mapping[str, BreakerSnapshot]) -> Iterator[str]:
    """Describe the problem of each instance that has one, also where another of its route can send."""
    for name, one in breakers.items():
        if one.misconfigured:
            yield f"plugins.{name}: misconfigured: {one.reason}"
        elif one.state is BreakerState.RESTING:
            yield f"plugins.{name}: rests for {one.rest_remaining:.0f} s: {one.reason}"
