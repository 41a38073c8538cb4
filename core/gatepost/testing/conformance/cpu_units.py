"""CPU time in units of a fixed piece of work, timed beside it: the result is the same on any machine."""

import json
import time
from collections.abc import Awaitable, Callable

from gatepost.testing.conformance.recorder import Recorder

MAX_UNITS = 16.0
"""Units that a hook may use between two turns of the loop; a careful hook needs one at most."""

MAX_SEND_UNITS = 6.0
"""Units that a whole send may use, on the loop and in threads; Gatepost's own plugins need one at most."""

_TRIES = 3
_MESSAGE = {"id": "0192d3a4", "text": "Hello there " * 20, "tags": ["news", "weekly"], "at": 1.5}


def do_work(units: float = 1) -> None:
    """Do units of work, each of which takes about a millisecond on a common server."""
    for _ in range(round(units * 160)):
        json.loads(json.dumps(_MESSAGE))


def measure_unit() -> float:
    """Return the seconds of CPU that one unit of work takes on this machine now."""
    begun = time.thread_time()
    do_work()
    return time.thread_time() - begun


async def assert_little_cpu(recorder: Recorder, call: Callable[[], Awaitable[object]]) -> None:
    """Raise AssertionError where the call's hook uses more than MAX_UNITS units in each of several tries.

    The fastest try counts, of the hook and of the unit: first tries import modules, and sometimes the
    interpreter collects garbage.
    """
    steps, units = [], [measure_unit()]
    for _ in range(_TRIES):
        recorder.longest_step = 0.0
        await call()
        steps.append(recorder.longest_step)
        units.append(measure_unit())
    least = min(steps)
    assert least < MAX_UNITS * min(units), (
        f"it blocks the loop for {least * 1000:.0f} ms of CPU, {least / min(units):.0f} units of work; "
        f"{MAX_UNITS:.0f} are allowed: do the work in asyncio.to_thread"
    )


async def assert_cheap(recorder: Recorder, call: Callable[[], Awaitable[object]]) -> None:
    """Raise AssertionError where a call's hook uses more than MAX_SEND_UNITS units in all, in each of several tries."""
    costs, units = [], [measure_unit()]
    for _ in range(_TRIES + 2):
        before = recorder.cpu
        await call()
        costs.append(recorder.cpu - before)
        units.append(measure_unit())
    least = min(costs)
    assert least < MAX_SEND_UNITS * min(units), (
        f"each message takes {least * 1000:.1f} ms of CPU, {least / min(units):.0f} units of work; "
        f"{MAX_SEND_UNITS:.0f} are allowed: make what is the same for all messages once"
    )
