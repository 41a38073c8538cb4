"""An event loop whose clock jumps to the next timer instead of waiting, so that an hour takes seconds."""

import asyncio
import selectors
from collections.abc import Callable, Sequence
from typing import Any

_POLL_INTERVAL = 0.05
"""Longest real wait in seconds while a thread works."""


class _ClockSelector:
    """A selector that advances the loop's clock instead of waiting, unless a thread works."""

    def __init__(self, loop: "FastForward") -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> Sequence[Any]:
        if self._loop.busy_threads:
            # The work of a thread takes no time on this loop's clock.
            return self._real.select(_POLL_INTERVAL if timeout is None or timeout > 0 else 0)
        events = self._real.select(None if timeout is None else 0)
        if not events and timeout:
            self._loop.now += timeout
        return events

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


class FastForward(asyncio.SelectorEventLoop):
    """An event loop whose clock, ``time()``, moves only while all tasks wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self.busy_threads = 0
        """Calls that are running in threads."""
        super().__init__(_ClockSelector(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(
        self, executor: object, func: Callable[..., object], *args: object
    ) -> "asyncio.Future[Any]":
        self.busy_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._end_call)
        return future

    def _end_call(self, _future: object) -> None:
        self.busy_threads -= 1
