"""The loop that moves messages whose time has come, and erases what the retention no longer covers."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from gatepost.contacts.lookup import ContactCache
from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.outbox import Outbox, forget, refusals, statistics, warmups

SWEEP_INTERVAL = 1.0
"""Seconds between two sweeps. A lease, a wait or a lifetime may end that much later than it is due."""

PRUNE_INTERVAL = 10.0
"""Seconds between two removals of old messages."""

PRUNE_PAUSE = 0.05
"""Seconds between two steps of a removal, in which the store is free for other work."""

REST_STEPS = 40
"""Steps at most, one after the other, in which what is left of forgotten users is erased: two seconds without a sweep."""

_log = logs.get(__name__)


async def run_housekeeping(
    outbox: Outbox, contact_cache: ContactCache, refused_instances: Callable[[], Collection[str]]
) -> None:
    """Sweep, prune and repair the outbox, purge its WAL, and expire cached contacts, until cancelled.

    ``refused_instances`` returns the instances whose reports are refused at present.
    """
    loop = asyncio.get_running_loop()
    prune_at = loop.time() + PRUNE_INTERVAL
    rest_from = ""
    while True:
        contact_cache.drop_expired()
        try:
            while (result := await outbox.sweep(refused_instances())).changes:
                counts = {name: getattr(result, name) for name in result.__struct_fields__}
                _log.info("sweep_finished", **counts)
            if loop.time() >= prune_at:
                prune_at = loop.time() + PRUNE_INTERVAL
                if outbox.policy.warmups:
                    # Before old counts are deleted, by which it is decided.
                    await outbox.change(warmups.advance, None)
                await _in_steps(outbox.prune)
                await _in_steps(partial(outbox.change, statistics.roll_up, None))
                await _in_steps(partial(outbox.change, refusals.prune, None))
                rest_from = await _erase_rest(outbox, rest_from)
                await _repair(outbox)
            await outbox.purge_wal()
        except StoreError as error:
            _log.warning("sweep_failed", reason=str(error))
        await asyncio.sleep(SWEEP_INTERVAL)


async def _in_steps(step: Callable[[], Awaitable[int]]) -> int:
    """Change old rows in small steps, so that no other work waits long for the store, until a step changes none.

    Returns how many rows were changed.
    """
    total = 0
    while changed := await step():
        total += changed
        await asyncio.sleep(PRUNE_PAUSE)
    return total


async def _erase_rest(outbox: Outbox, start: str) -> str:
    """Erase what can be erased now of forgotten users, from the message after ``start`` on; return where to go on."""
    erased = 0
    for _ in range(REST_STEPS):
        step = await outbox.cancel(forget.erase_rest, start)
        erased, start = erased + step.erased, step.last_id
        if not start:
            break
        await asyncio.sleep(PRUNE_PAUSE)
    if erased:
        await outbox.erase_copies()
    return start


async def _repair(outbox: Outbox) -> None:
    if count := await outbox.queue_stuck_statuses():
        _log.error(
            "stuck_statuses_queued",
            count=count,
            problem="these callbacks would never have been made. This is a bug in Gatepost; please report it",
        )
