"""The loop that says in the store that this gateway is there, and measures how late the event loop is."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable

from gatepost import __version__
from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.outbox import Outbox, replicas, store_size
from gatepost.outbox.replicas import Sign

TICK = 1.0
"""Seconds between two measurements of the event loop."""

BEAT_TICKS = 10
"""Ticks between two signs of life: ten seconds."""

START_TICKS = 5
"""First ticks that may be late: the start of a gateway itself blocks the loop, while it builds what answers requests."""

LAG_WINDOW = 60
"""Ticks for which a late one is shown: a minute."""

_FORGET_TIMEOUT = 0.5
"""Seconds that a stop may take for its last sign: a store that does not answer must not delay it."""

_log = logs.get(__name__)


class Heartbeat:
    """The signs of life of one gateway."""

    def __init__(self, outbox: Outbox, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is in seconds. It is not the loop's own, which uvloop reads only once a turn."""
        self._outbox = outbox
        self._clock = clock
        self._started = clock()
        self._lags: deque[float] = deque(maxlen=LAG_WINDOW)

    @property
    def uptime(self) -> float:
        """Seconds since the gateway was opened."""
        return self._clock() - self._started

    @property
    def max_lag(self) -> float:
        """The most seconds by which the event loop was late within the last minute."""
        return max(self._lags, default=0.0)

    async def run(self) -> None:
        """Give signs of life until cancelled, the first one after BEAT_TICKS."""
        ticks = 0
        while True:
            for _ in range(BEAT_TICKS):
                due = self._clock() + TICK
                await asyncio.sleep(TICK)
                lag = max(0.0, self._clock() - due)
                ticks += 1
                if ticks > START_TICKS:
                    self._lags.append(lag)
            await self.beat()

    async def beat(self) -> None:
        """Give one sign of life, and note the size of the store once a day."""
        try:
            await self._outbox.change(replicas.note, Sign(socket.gethostname(), __version__))
            await self._outbox.change(store_size.sample, None)
        except StoreError as error:
            _log.warning("heartbeat_failed", reason=str(error))

    async def stop(self) -> None:
        """Take the sign of life back: this gateway stops, so no operator has to look for it."""
        try:
            async with asyncio.timeout(_FORGET_TIMEOUT):
                await self._outbox.change(replicas.forget, None)
        except (StoreError, TimeoutError) as error:
            _log.warning("heartbeat_failed", reason=str(error))
