"""Values that were read a moment ago: ten open tabs that refresh themselves cost as much as one."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")

MAX_VALUES = 100
"""Values above which those that are too old are forgotten."""


class _Recent:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.value: Any = None
        self.ends_at = float("-inf")


class RecentValues:
    """Values by their keys, each for a few seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` returns seconds."""
        self._clock = clock
        self._values: dict[Hashable, _Recent] = {}

    async def get(self, key: Hashable, seconds: float, load: Callable[[], Awaitable[T]]) -> T:
        """Return the value that ``load`` returns, or that it returned for any caller within these seconds.

        Callers at the same time wait for one reading. A failure is not kept: the next caller reads again.
        """
        if len(self._values) > MAX_VALUES:
            now = self._clock()
            self._values = {
                k: one for k, one in self._values.items() if one.lock.locked() or now < one.ends_at
            }
        one = self._values.setdefault(key, _Recent())
        async with one.lock:
            if self._clock() >= one.ends_at:
                one.value = await load()
                one.ends_at = self._clock() + seconds
            return cast("T", one.value)
