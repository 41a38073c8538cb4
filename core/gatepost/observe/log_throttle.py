"""A limit on log lines that anyone who can reach the gateway can cause."""

from collections.abc import Callable

_INTERVAL = 60.0
"""Seconds between two log lines about the same key."""


class LogThrottle:
    """Limits log lines to one a minute for each key, so that a stranger can't fill the disk.

    ``clock`` returns seconds and never goes back (``time.monotonic``). At most ``max_keys`` keys are
    remembered; while none of them is older than a minute, log lines about further keys are not due at all.
    """

    def __init__(self, clock: Callable[[], float], max_keys: int = 4096) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._last: dict[str, float] = {}

    def due(self, key: str) -> bool:
        """Return whether a log line about ``key`` is due: the first time, and when the last one is a minute ago."""
        now = self._clock()
        while self._last:
            # The dict is in the order of the times, so its first entry is the oldest.
            oldest, then = next(iter(self._last.items()))
            if now - then < _INTERVAL:
                break
            del self._last[oldest]
        if key in self._last or len(self._last) >= self._max_keys:
            return False
        self._last[key] = now
        return True
