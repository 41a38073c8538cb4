"""The deadlines of calls in progress, which share one timer: one for each call took as long as its task."""

import asyncio
import math


class Deadlines:
    """Wakes those that wait for a call when its time is over."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Future[None], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def add(self, waiter: asyncio.Future[None], seconds: float) -> None:
        """Set the result of a future in so many seconds, unless it is removed or done before."""
        due = waiter.get_loop().time() + seconds
        self._due[waiter] = due
        if due < self._timer_at:
            self._start_timer(waiter.get_loop(), due)

    def remove(self, waiter: asyncio.Future[None]) -> None:
        """Forget a future."""
        del self._due[waiter]
        if not self._due:
            self._stop_timer()

    def _start_timer(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self._stop_timer()
        self._timer, self._timer_at = loop.call_at(at, self._wake, loop), at

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, math.inf

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake what was due at the time of the timer, and start it for the next one that is due."""
        # The loop may call a timer a little early.
        now = max(self._timer_at, loop.time())
        self._timer, self._timer_at = None, math.inf
        waiting = [(waiter, due) for waiter, due in self._due.items() if not waiter.done()]
        for waiter, due in waiting:
            if due <= now:
                waiter.set_result(None)
        next_due = min((due for _, due in waiting if due > now), default=None)
        if next_due is not None:
            self._start_timer(loop, next_due)
