"""What the two workers of the outbox share: the loop that claims, and the recording of results in a busy store.

``delivery`` and ``callbacks`` both need it and may not import each other. This module is in the outbox, which both
import, because it knows nothing else: an event that says that there may be work, and the two errors of the store.
It has functions and no base class, because the workers share no state.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gatepost.errors import StoreBroken, StoreError

POLL_INTERVAL = 1.0
"""Seconds after which a worker claims although no event has said that there may be work."""

RECORD_INTERVAL = 0.2
"""Seconds between two tries to record a result."""

_Claim = TypeVar("_Claim")
_Result = TypeVar("_Result")
_Recorded = TypeVar("_Recorded")


async def claim_repeatedly(
    claim: Callable[[], Awaitable[float | None]],
    *,
    work: asyncio.Event,
    stopping: asyncio.Event,
    on_error: Callable[[StoreError], None],
) -> None:
    """Claim work until ``stopping`` is set or the store is broken.

    ``claim`` begins what it claims. It returns None where there may be more to claim, and otherwise the seconds until
    the next claim; ``work`` ends that wait when it is set. ``on_error`` gets the error of a claim that failed.
    """
    while not stopping.is_set():
        work.clear()
        try:
            wait = await claim()
        except StoreBroken:
            return
        except StoreError as error:
            on_error(error)
            wait = POLL_INTERVAL
        if wait is not None:
            await wait_for(work, wait)


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, but at most ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


async def record(
    finish: Callable[[_Result], Awaitable[_Recorded]],
    claim: _Claim,
    result: _Result,
    *,
    on_lost: Callable[[_Claim, _Result], None],
    on_error: Callable[[_Claim, StoreError, bool], None],
    out_of_time: asyncio.Event | None = None,
) -> _Recorded | None:
    """Record the result of a claim, and try again while the store is busy; return what ``finish`` returned.

    None: nothing was recorded before the tries ended. ``on_lost`` is called where ``finish`` returned False or None: the
    claim was lost and nothing was recorded. ``on_error`` is called for each try that failed, with True where it was the
    last: when ``out_of_time`` was set before it. Without ``out_of_time`` only cancellation ends the tries.
    """
    while True:
        last = out_of_time is not None and out_of_time.is_set()
        try:
            recorded = await finish(result)
        except StoreBroken:
            return None
        except StoreError as error:
            on_error(claim, error, last)
            if last:
                return None
            await asyncio.sleep(RECORD_INTERVAL)
            continue
        if not recorded:
            on_lost(claim, result)
        return recorded
