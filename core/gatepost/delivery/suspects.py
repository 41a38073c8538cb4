"""Suspects: messages that were in flight at two deaths of the process. One of them may have caused the deaths.

Each suspect is sent alone: no other message is in flight in this process meanwhile. If the process dies again, this
suspect is the cause. The other messages must not suffer: after each suspect they are sent for at least as long as it
took, and a suspect waits only IN_FLIGHT_TIMEOUT seconds for the messages in flight.
"""

import asyncio
from collections.abc import Collection

from gatepost.delivery.dispatch import Dispatch
from gatepost.errors import StoreBroken, StoreError
from gatepost.observe import logs
from gatepost.outbox import Outbox, Queue, polling
from gatepost.outbox.states import State

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
        dispatch: Dispatch,
        *,
        tasks: Collection[asyncio.Task[None]],
        stopping: asyncio.Event,
    ) -> None:
        """Take what the loop shares with the delivery worker.

        ``tasks`` are those that send; ``stopping`` ends ``run``.
        """
        self._outbox = outbox
        self._dispatch = dispatch
        self._in_flight = tasks
        self._stopping = stopping
        self._last_queue = 0

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
        """Send one suspect, if there is any; return whether the others had to wait.

        Each queue with a suspect is the first one in turn.
        """
        queues = [
            queue for queue in await self._outbox.due_queues(State.SUSPECT) if self._dispatch.is_usable(queue)
        ]
        if not queues:
            return False
        # The queue after the last one, in the order of their ids.
        queue = min(queues, key=lambda queue: (queue.id <= self._last_queue, queue.id))
        self._last_queue = queue.id
        await self._send_alone(queue)
        return True

    async def _send_alone(self, queue: Queue) -> None:
        async with self._dispatch.lock:
            if self._in_flight:
                await asyncio.wait(self._in_flight, timeout=IN_FLIGHT_TIMEOUT)
            # The messages that ended meanwhile may have tripped a breaker.
            if self._in_flight or self._stopping.is_set() or not self._dispatch.is_usable(queue):
                return
            await self._dispatch.claim_suspect(queue)
            if self._in_flight:
                await asyncio.wait(self._in_flight)
