"""The gauges of what is in the store: the queues, the limits and the size. They are read at each scrape."""

from collections.abc import Mapping
from functools import partial

from gatepost.config.settings import Settings
from gatepost.errors import StoreError
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox, QueueDepth, gauges
from gatepost.outbox.gauges import StoreGauges
from gatepost.outbox.states import FINAL_STATES, CallbackState, State
from gatepost.upkeep.configured_limits import configured_limits

_GAUGES: tuple[tuple[str, str, list[str]], ...] = (
    ("queue_messages", "Messages that have not ended", ["channel", "state"]),
    ("queue_age_seconds", "How long the longest waiting message is overdue", ["channel"]),
    ("callbacks_waiting", "Statuses whose callback is due or in flight", ["state"]),
    ("callbacks_age_seconds", "Age of the oldest of these statuses", []),
    ("callbacks_dead", "Statuses whose callbacks were given up, so that Smartico does not know them", []),
    (
        "limit_used_ratio",
        "How much of a configured limit is used: 1 is all of it",
        ["limit"],
    ),
    ("store_size_bytes", "Size of the database", []),
    ("warmup_cap", "How many sends a plugin that warms up may begin in this period", ["plugin"]),
    ("warmup_used", "How many of them it has begun", ["plugin"]),
)
"""Name, description, labels."""

_Values = Mapping[tuple[str, ...], float]

_log = logs.get(__name__)


class StoreMetrics:
    """Adds the gauges to the metrics, and reads their values."""

    def __init__(self, settings: Settings, outbox: Outbox, metrics: Metrics) -> None:
        self._outbox = outbox
        self._limits = configured_limits(settings)
        self._settings = settings
        nothing = StoreGauges(depth=QueueDepth(), limits=[], size=0, warmups=[])
        self._values = _gauge_values(nothing, settings)
        for name, text, labels in _GAUGES:
            metrics.add_gauge(name, text, labels, partial(self._gauge, name))

    async def update(self) -> None:
        """Read the values, which stay as they are where the store can't be read."""
        try:
            found = await self._outbox.change(gauges.read, self._limits)
        except StoreError as error:
            _log.warning("queue_depth_unknown", reason=str(error))
            return
        self._values = _gauge_values(found, self._settings)

    def _gauge(self, name: str) -> _Values:
        return self._values[name]


def _gauge_values(found: StoreGauges, settings: Settings) -> dict[str, _Values]:
    first = {name: one.warmup.first for name, one in settings.plugins.items() if one.warmup}
    warmups = {one.instance: one for one in found.warmups if one.instance in first}
    return {
        **_queue_values(found.depth),
        "limit_used_ratio": {(one.setting,): one.used / one.cap for one in found.limits},
        "store_size_bytes": {(): found.size},
        "warmup_cap": {(name,): warmups[name].cap if name in warmups else cap for name, cap in first.items()},
        "warmup_used": {(name,): warmups[name].used if name in warmups else 0 for name in first},
    }


def _queue_values(depth: QueueDepth) -> dict[str, _Values]:
    """Return the values of the queues, zeros included, because an alert can't use a series that comes and goes."""
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
