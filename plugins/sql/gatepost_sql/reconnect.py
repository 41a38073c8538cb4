"""The time between attempts to connect to a database that is away."""

import random
import time

_FREE_FAILURES = 5
"""Failures in a row after which the next attempt may begin at once: a few
lookups fail at the same time when a server restarts."""

_FIRST_REST = 1.0
_MAX_REST = 30.0


class Resting(Exception):
    """The last attempts to connect failed a moment ago, and there is no other one yet."""


class Reconnection:
    """Lets one attempt to connect at a time find out whether a database that is away is back, and rests in between."""

    def __init__(self, timeout: float) -> None:
        """``timeout`` is in seconds; an attempt that has not ended then has failed."""
        self._timeout = timeout
        self._failures = 0
        self._next = 0.0

    def begin(self) -> None:
        """Begin an attempt; raises Resting when it is too early for one."""
        now = time.monotonic()
        if now < self._next:
            raise Resting
        if self._failures > _FREE_FAILURES:
            # Until this attempt has ended, the others need not try.
            self._next = now + self._timeout

    def note_failure(self) -> None:
        """Note that the attempt failed."""
        self._failures += 1
        if (doublings := self._failures - _FREE_FAILURES - 1) >= 0:
            rest = min(_MAX_REST, _FIRST_REST * 2 ** min(doublings, 10))
            self._next = time.monotonic() + rest * random.uniform(0.8, 1.2)  # noqa: S311  no secret

    def note_success(self) -> None:
        """Note that there is a connection."""
        self._failures, self._next = 0, 0.0
