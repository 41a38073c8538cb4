"""The number of connections that may be open at once: the configured number, or fewer if the relay allows fewer."""

import asyncio
from collections.abc import Callable

MIN_RETRY_DELAY, MAX_RETRY_DELAY = 1.0, 60.0
"""Seconds until another connection is tried after the relay refused one; doubled after each refusal."""


class ConnectionLimit:
    """One slot per connection. When the relay refuses a connection beside others, its slot is withheld.

    Every acquired slot must be released or withheld.
    """

    def __init__(self, configured: int, clock: Callable[[], float]) -> None:
        self._free_slots = asyncio.Semaphore(configured)
        self._withheld_slots = 0
        self._allowed = configured
        self._clock = clock
        self._retry_delay = MIN_RETRY_DELAY
        self._retry_at = 0.0

    def has_free_slot(self) -> bool:
        """Tell whether ``acquire`` would not wait."""
        return not self._free_slots.locked()

    async def acquire(self) -> None:
        """Wait for a free slot and take it."""
        await self._free_slots.acquire()

    def release(self) -> None:
        """Return a slot."""
        self._free_slots.release()

    def withhold(self, open_connections: int) -> None:
        """Withhold a slot: the relay refused another connection beside these ``open_connections``."""
        self._withheld_slots += 1
        if open_connections < self._allowed:
            # It allowed more before, and may not have noticed yet that one of them was closed.
            self._retry_delay = MIN_RETRY_DELAY
        self._allowed = open_connections
        self._retry_at = self._clock() + self._retry_delay

    def record_open(self, open_connections: int) -> None:
        """Record the number of open connections; if it exceeds the known limit, free a withheld slot."""
        if open_connections > self._allowed:
            self._allowed = open_connections
            self._retry_delay = MIN_RETRY_DELAY
            if self._withheld_slots:
                self._free_withheld_slot()

    def is_retry_due(self) -> bool:
        """Tell whether the delay after a refusal is over."""
        return self._withheld_slots > 0 and self._clock() >= self._retry_at

    def retry(self) -> None:
        """Free a withheld slot to try another connection, and double the delay before the next retry."""
        self._retry_delay = min(2 * self._retry_delay, MAX_RETRY_DELAY)
        self._retry_at = self._clock() + self._retry_delay
        self._free_withheld_slot()

    def reset(self) -> None:
        """Forget the known limit, because no connection is open: each new one frees a withheld slot."""
        self._allowed = 0

    def _free_withheld_slot(self) -> None:
        self._withheld_slots -= 1
        self._free_slots.release()
