"""CPU measured in units of a fixed piece of work that is timed beside it: the result is the same on any machine."""

import json
import time
from collections.abc import Awaitable, Callable

from gatepost.testing.conformance.watching import Watch

MAX_UNITS = 16.0
"""Units that a hook may keep the loop for at a stretch; one that takes care needs one at the most."""

_TRIES = 3
_MESSAGE = {"id": "0192d3a4", "text": "Hello there " * 20, "tags": ["news", "weekly"], "at": 1.5}


def burn(units: float = 1) -> None:
    """Do some units of work, each of which takes about a millisecond on a common server."""
    for _ in range(round(units * 160)):
        json.loads(json.dumps(_MESSAGE))


def measure_unit() -> float:
    """Return the seconds of CPU that a unit of work takes here and now."""
    begun = time.thread_time()
    burn()
    return time.thread_time() - begun


async def check_cpu(watch: Watch, call: Callable[[], Awaitable[object]]) -> None:
    """Raise AssertionError if the call's hook keeps the loop for more than MAX_UNITS units in each of several tries.

    The fastest try counts, of the hook and of the unit: the first ones import, and now and then the interpreter
    collects garbage.
    """
    stretches, units = [], [measure_unit()]
    for _ in range(_TRIES):
        watch.longest = 0.0
        await call()
        stretches.append(watch.longest)
        units.append(measure_unit())
    least = min(stretches)
    assert least < MAX_UNITS * min(units), (
        f"it keeps the loop for {least * 1000:.0f} ms of CPU, {least / min(units):.0f} units of work where "
        f"{MAX_UNITS:.0f} are the most: hand the work to asyncio.to_thread"
    )
