"""A limit on log lines that anybody can cause."""

from collections.abc import Callable


class LogThrottle:
    """Says whether a log line about this key is due, so that a stranger at the door can't fill the disk.

    ``clock`` gives seconds and never goes back (``time.monotonic``). At most ``keys`` are remembered; while
    they are all fresh, further ones are not due at all.
    """

    def __init__(self, clock: Callable[[], float], keys: int = 4096) -> None:
        self._clock = clock
        self._keys = keys
        self._last: dict[str, float] = {}

    def due(self, key: str) -> bool:
        """True the first time, and then when a minute has passed since it was last true."""
        now = self._clock()
        while self._last:
            # The dict is in the order of the times, so the oldest is the first.
            oldest, then = next(iter(self._last.items()))
            if now - then < 60:
                break
            del self._last[oldest]
        if key in self._last or len(self._last) >= self._keys:
            return False
        self._last[key] = now
        return True
