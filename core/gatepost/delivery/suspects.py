"""Suspects: messages that were in flight at two deaths of the process. One of them may have caused the deaths.

Each suspect is sent alone: no other message is in flight in this process meanwhile. If the process dies again, this
suspect is the cause. The other messages must not suffer: after each suspect they are sent for at least as long as it
took, and a suspect waits only IN_FLIGHT_TIMEOUT seconds for the messages in flight.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping

from gatepost.errors import StoreBroken, StoreError
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import Outbox, polling

SUSPECT_INTERVAL = 1.0
"""Seconds between two searches for suspects."""

IN_FLIGHT_TIMEOUT = 20.0
"""Seconds that a suspect waits for the messages in flight to end; then others are claimed again, and it waits anew."""

MIN_PAUSE = 0.1
"""Seconds between two suspects at least, in which the other messages are sent."""

_log = logs.get(__name__)


class Suspects:
    """The loop that sends the suspects of one process."""

    def __init__(
        self,
        outbox: Outbox,
        claim_locks: Mapping[Channel, asyncio.Lock],
        *,
        in_flight: Collection[asyncio.Task[None]],
        usable: Callable[[Channel], bool],
        begin: Callable[[Channel], Awaitable[None]],
        stopping: asyncio.Event,
    ) -> None:
        """Take what the loop shares with the delivery worker.

        While the lock of a channel is held, nothing else claims its messages. ``in_flight`` are the tasks that send.
        ``usable`` tells whether the route of a channel has an instance that works; ``begin`` claims the next suspect
        of a channel and begins to send it. ``stopping`` ends ``run``.
        """
        self._outbox = outbox
        self._claim_locks = claim_locks
        self._in_flight = in_flight
        self._usable = usable
        self._begin = begin
        self._stopping = stopping

    async def run(self) -> None:
        """Send suspects, one at a time, until the worker stops."""
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            start, pause = clock(), SUSPECT_INTERVAL
            try:
                if await self._send_next():
                    pause = max(MIN_PAUSE, clock() - start)
            except StoreBroken:
                return
            except StoreError as error:
                _log.warning("claim_failed", suspects=True, reason=str(error))
            await polling.wait_for(self._stopping, pause)

    async def _send_next(self) -> bool:
        """Send the suspect that has been due for the longest time, if any; return whether the others had to wait."""
        for channel in await self._outbox.channels_with_suspects():
            if self._usable(channel):
                await self._send_alone(channel)
                return True
        return False

    async def _send_alone(self, channel: Channel) -> None:
        async with contextlib.AsyncExitStack() as locks:
            for lock in self._claim_locks.values():
                await locks.enter_async_context(lock)
            if self._in_flight:
                await asyncio.wait(self._in_flight, timeout=IN_FLIGHT_TIMEOUT)
            # The messages that ended meanwhile may have tripped a breaker.
            if self._in_flight or self._stopping.is_set() or not self._usable(channel):
                return
            await self._begin(channel)
            if self._in_flight:
                await asyncio.wait(self._in_flight)
