"""An event loop on which an hour takes as long as what happens in it: nobody waits for time to pass."""

import asyncio
import selectors
from collections.abc import Callable, Sequence
from typing import Any

_BRIEFLY = 0.05
"""Real seconds to wait for a thread before its loop looks again."""


class _Hurried:
    """A selector that lets time pass instead of waiting for it, unless a thread is at work."""

    def __init__(self, loop: "FastForward") -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> Sequence[Any]:
        if self._loop.threads:
            # What a thread does takes no time on this loop's clock.
            return self._real.select(_BRIEFLY if timeout is None or timeout > 0 else 0)
        found = self._real.select(None if timeout is None else 0)
        if not found and timeout:
            self._loop.now += timeout
        return found

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


class FastForward(asyncio.SelectorEventLoop):
    """Its clock, which ``time`` tells, moves only while everybody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.threads = 0
        """Calls that threads have in hand."""
        super().__init__(_Hurried(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(
        self, executor: object, func: Callable[..., object], *args: object
    ) -> "asyncio.Future[Any]":
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _future: object) -> None:
        self.threads -= 1
