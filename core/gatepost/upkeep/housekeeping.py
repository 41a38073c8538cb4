"""What nobody asks for and has to be done: time that has come is acted upon, what is old is forgotten."""

import asyncio

from gatepost.contacts.lookup import ContactCache
from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.outbox import Outbox

SWEEP_EVERY = 1.0
"""Seconds; as late may a lease, a wait or a lifetime end."""

PRUNE_EVERY = 10.0
PRUNE_PAUSE = 0.05
"""Seconds between two small steps of forgetting, in which others have the store."""

_log = logs.get(__name__)


async def keep_house(outbox: Outbox, contact_cache: ContactCache) -> None:
    """Sweep, forget, prune, mend and scrub until cancelled."""
    loop = asyncio.get_running_loop()
    prune_at = loop.time() + PRUNE_EVERY
    while True:
        contact_cache.drop_expired()
        try:
            while (swept := await outbox.sweep()).changes:
                _log.info("swept", **{name: getattr(swept, name) for name in swept.__struct_fields__})
            if loop.time() >= prune_at:
                prune_at = loop.time() + PRUNE_EVERY
                await _prune(outbox)
                if mended := await outbox.queue_stuck_statuses():
                    _log.error(
                        "stuck_statuses_queued", count=mended, problem="none should be; please report it"
                    )
            await outbox.purge_wal()
        except StoreError as error:
            _log.warning("sweep_failed", reason=str(error))
        await asyncio.sleep(SWEEP_EVERY)


async def _prune(outbox: Outbox) -> None:
    """Forget all that is old, in small steps, so that nobody waits for it."""
    forgotten = 1
    while forgotten:
        forgotten = await outbox.prune()
        await asyncio.sleep(PRUNE_PAUSE)
