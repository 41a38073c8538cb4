"""Messages that may be what kills the process: each is sent alone, so that one more death names it.

In hand at two deaths are mostly messages that did no harm, beside one that did. So while a suspect is sent, nothing
else is in hand in this process, and what dies then is surely that one. What else waits must not suffer: it has its
turn after each suspect, for at least as long, and what is in hand is not waited for without end.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping

from gatepost.errors import StoreBroken, StoreError
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import Outbox

POLL = 1.0
"""Seconds between two looks for suspects."""

DRAIN = 20.0
"""Seconds for which a suspect waits that what is in hand comes to its end; then all goes on, and it tries later."""

SHORTEST_TURN = 0.1
"""Seconds that everything else is sent between two suspects at least."""

_log = logs.get(__name__)


class Suspects:
    """The one that sends suspects in one process."""

    def __init__(
        self,
        outbox: Outbox,
        gates: Mapping[Channel, asyncio.Lock],
        *,
        in_hand: Collection[asyncio.Task[None]],
        usable: Callable[[Channel], bool],
        begin: Callable[[Channel], Awaitable[None]],
    ) -> None:
        """``gates``: nothing of a channel is claimed by anybody else while its lock is held.

        ``in_hand`` are the sends under way. ``usable`` says whether a channel has somebody to send with, and
        ``begin`` claims its next suspect and begins to send it.
        """
        self._outbox = outbox
        self._gates = gates
        self._in_hand = in_hand
        self._usable = usable
        self._begin = begin
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin no further one."""
        self._stopping.set()

    async def run(self) -> None:
        """Send suspects, one at a time, until ``stop``."""
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            began, turn = clock(), POLL
            try:
                if await self._send_next():
                    turn = max(SHORTEST_TURN, clock() - began)
            except StoreBroken:
                return
            except StoreError as error:
                _log.warning("claim_failed", suspects=True, reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(turn):
                    await self._stopping.wait()

    async def _send_next(self) -> bool:
        """Send the suspect that is the longest due, if there is one; returns whether others had to wait."""
        for channel in await self._outbox.channels_with_suspects():
            if self._usable(channel):
                await self._send_alone(channel)
                return True
        return False

    async def _send_alone(self, channel: Channel) -> None:
        async with contextlib.AsyncExitStack() as gates:
            for gate in self._gates.values():
                await gates.enter_async_context(gate)
            if self._in_hand:
                await asyncio.wait(self._in_hand, timeout=DRAIN)
            # What came to its end meanwhile may have tripped a breaker.
            if self._in_hand or self._stopping.is_set() or not self._usable(channel):
                return
            await self._begin(channel)
            if self._in_hand:
                await asyncio.wait(self._in_hand)
