"""Whether the gateway would take and send messages, and how much waits: for load balancers and alarms."""

import asyncio
from collections.abc import Mapping

import msgspec

from gatepost import logs
from gatepost.errors import StoreError
from gatepost.metrics import Metrics
from gatepost.model import Channel
from gatepost.outbox import Outbox
from gatepost.pace import Health as Condition
from gatepost.pace import Pace
from gatepost.settings import Routes

_log = logs.get(__name__)


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What ``/health/ready`` answers."""

    ready: bool
    problems: list[str]
    instances: Mapping[str, Mapping[str, object]]


class Health:
    """Of one gateway."""

    def __init__(
        self, *, routes: Routes, outbox: Outbox, paces: Mapping[str, Pace], metrics: Metrics
    ) -> None:
        """``paces``: of every sending instance, by its name."""
        self._routes = routes
        self._outbox = outbox
        self._paces = paces
        self._queued: dict[tuple[str, ...], float] = {}
        self._oldest: dict[tuple[str, ...], float] = {}
        self._untold: dict[tuple[str, ...], float] = {}
        for name, text, labels, read in (
            ("queue_messages", "Messages not at their end", ["channel", "state"], lambda: self._queued),
            (
                "queue_age_seconds",
                "How long the longest waiting message is overdue",
                ["channel"],
                lambda: self._oldest,
            ),
            (
                "callbacks_waiting",
                "Statuses that Smartico is still to be told",
                ["state"],
                lambda: self._untold,
            ),
        ):
            metrics.gauge(f"gatepost_{name}", text, labels, read)

    def ready(self) -> Ready:
        """Whether messages would be taken and sent now."""
        now = asyncio.get_running_loop().time()
        conditions = {name: pace.describe(now) for name, pace in self._paces.items()}
        problems = []
        if self._outbox.broken.done():
            problems = ["the store is broken"]
        elif self._outbox.refusing:
            problems = ["the store refuses"]
        problems += [
            f"routes.{channel}: nobody on it can send now"
            for channel in Channel
            if (route := self._routes.of(channel))
            and all(conditions[name].health is Condition.RESTING for name in route)
        ]
        return Ready(
            ready=not problems,
            problems=problems,
            instances={
                name: {
                    "health": one.health,
                    "rests": round(one.rests, 1),
                    "misconfigured": one.misconfigured,
                    "reason": one.reason,
                }
                for name, one in conditions.items()
            },
        )

    async def look(self) -> None:
        """Count what waits, for the metrics; what was counted last stands where the store has no answer."""
        try:
            depth = await self._outbox.depth()
        except StoreError as error:
            _log.warning("depth_unknown", reason=str(error))
            return
        self._queued = {(channel, state): float(n) for (channel, state), n in depth.messages.items()}
        self._oldest = {(channel,): age for channel, age in depth.oldest.items()}
        self._untold = {(state,): float(n) for state, n in depth.callbacks.items()}
