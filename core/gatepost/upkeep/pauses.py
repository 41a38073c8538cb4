"""The loop that reads what operators have paused, so that each replica obeys soon."""

import asyncio

from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.outbox import Outbox

READ_INTERVAL = 1.0
"""Seconds between two reads. A pause holds in every process at most this much later, and the time of one read."""

_log = logs.get(__name__)


async def follow_pauses(outbox: Outbox) -> None:
    """Read the pauses again and again, until cancelled."""
    while True:
        await asyncio.sleep(READ_INTERVAL)
        try:
            await outbox.read_pauses()
        except StoreError as error:
            _log.warning("pauses_not_read", reason=str(error))
