"""How often somebody may try to sign in: a guess costs a wait that grows, by name and by address."""

from collections import OrderedDict
from collections.abc import Callable

FREE_FAILURES = 5
"""Failures without a wait."""

FIRST_WAIT = 2.0
"""Seconds after the next failure; it doubles with each further one."""

MAX_WAIT = 900.0

FORGOTTEN_AFTER = 3600.0
"""Seconds after the last failure."""

MAX_KEYS = 10_000
"""Names and addresses that are remembered; the one that failed longest ago goes first."""


class LoginThrottle:
    """Remembers failures of names and of addresses."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, *keys: str) -> float:
        """Return the seconds until one of these may try again; 0 where it may now."""
        now = self._clock()
        return max(0.0, *(self._wait(key, now) for key in keys))

    def _wait(self, key: str, now: float) -> float:
        count, failed_at = self._failures.get(key, (0, 0.0))
        if count < FREE_FAILURES or now - failed_at > FORGOTTEN_AFTER:
            return 0.0
        return failed_at + min(MAX_WAIT, FIRST_WAIT * 2.0 ** (count - FREE_FAILURES)) - now

    def note_failure(self, *keys: str) -> None:
        """Count a failure for each of these."""
        now = self._clock()
        for key in keys:
            count, failed_at = self._failures.pop(key, (0, now))
            self._failures[key] = (1 if now - failed_at > FORGOTTEN_AFTER else min(count + 1, 64)), now
        while len(self._failures) > MAX_KEYS:
            self._failures.popitem(last=False)

    def note_success(self, *keys: str) -> None:
        """Forget the failures of these."""
        for key in keys:
            self._failures.pop(key, None)
