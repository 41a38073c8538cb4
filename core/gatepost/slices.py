"""Long work in slices, between which other tasks get a turn."""

import asyncio
from collections.abc import Generator
from typing import TypeVar

_Result = TypeVar("_Result")


async def run_in_slices(steps: Generator[None, None, _Result]) -> _Result:
    """Run a generator to its end, give other tasks a turn at each step, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
        await asyncio.sleep(0)
