"""How many connections may be open at once: as many as the settings say, or as many as the relay allows."""

import asyncio
from collections.abc import Callable

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds without a try for one more connection after the relay refused one; they double with each try in vain."""


class Places:
    """A place for each connection. Where the relay refuses a connection beside others, its place is withheld.

    Whatever takes a place either releases it or withholds it in the end.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._free = asyncio.Semaphore(most)
        self._withheld = 0
        self._allowed = most
        self._clock = clock
        self._pause = FIRST_PAUSE
        self._retry_at = 0.0

    async def take(self) -> None:
        """Wait for a place."""
        await self._free.acquire()

    def release(self) -> None:
        """Give a place back."""
        self._free.release()

    def withhold(self, connections: int) -> None:
        """Keep a place back: the relay refused one more beside so many ``connections``."""
        self._withheld += 1
        if connections < self._allowed:
            # It allowed more before, and perhaps has not noticed yet that one of them was closed.
            self._pause = FIRST_PAUSE
        self._allowed = connections
        self._retry_at = self._clock() + self._pause

    def opened(self, connections: int) -> None:
        """Note that so many are open: when they are more than the relay was thought to allow, try another."""
        if connections > self._allowed:
            self._allowed = connections
            self._pause = FIRST_PAUSE
            if self._withheld:
                self._hand_out_again()

    def is_try_due(self) -> bool:
        """Whether the pause after a refusal is over."""
        return self._withheld > 0 and self._clock() >= self._retry_at

    def try_another(self) -> None:
        """Hand a withheld place out again, and begin a longer pause."""
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._retry_at = self._clock() + self._pause
        self._hand_out_again()

    def forget(self) -> None:
        """Note that none is open any more: with each that opens from now on another may be tried."""
        self._allowed = 0

    def _hand_out_again(self) -> None:
        self._withheld -= 1
        self._free.release()
