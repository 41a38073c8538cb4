"""The side that reports: a queue in memory and the task that empties it.

A real provider would keep its reports on disk. What waits here when the process ends is not reported.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from structlog.stdlib import BoundLogger

from gatepost.errors import SendError
from gatepost.model import Secret
from gatepost.wire import Http
from gatepost_sandbox.reports import Line, encode, signed_headers

CAPACITY = 10_000
"""Messages that may wait for their reports; those beyond are not reported."""
BATCH = 100
"""Messages that one request reports on, at the most."""
PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6)
"""Seconds before each repeat of a request that got no 2xx; after the last it is given up."""


class _Waiting(NamedTuple):
    due: float
    """By the event loop's clock."""
    message_id: str
    statuses: tuple[str, ...]


class Reporter:
    """Reports each message's statuses one after the other, ``after`` seconds apart."""

    def __init__(
        self,
        http: Http,
        secret: Secret,
        log: BoundLogger,
        *,
        after: float,
        pauses: Sequence[float] = PAUSES,
        capacity: int = CAPACITY,
    ) -> None:
        self._http = http
        self._secret = secret
        self._log = log
        self._after = after
        self._pauses = pauses
        self._capacity = capacity
        # In the order in which they are due, as every one waits equally long.
        self._waiting: deque[_Waiting] = deque()
        self._some = asyncio.Event()
        self._overflowing = False

    @property
    def waiting(self) -> int:
        """Messages that still have something to be reported, those under way not counted."""
        return len(self._waiting)

    def report(self, message_id: str, statuses: tuple[str, ...]) -> None:
        """Put a message's reports into the queue; returns at once."""
        if not statuses:
            return
        if len(self._waiting) >= self._capacity:
            # Said once, not for every message of a burst.
            if not self._overflowing:
                self._log.warning("too many reports wait, new ones are dropped", waiting=len(self._waiting))
            self._overflowing = True
            return
        self._overflowing = False
        due = asyncio.get_running_loop().time() + self._after
        self._waiting.append(_Waiting(due, message_id, statuses))
        self._some.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            batch = await self._due()
            body = encode([Line(entry.message_id, entry.statuses[0]) for entry in batch])
            if not await self._post_until_taken(body):
                self._log.error("reports given up, the gateway does not take them", messages=len(batch))
                continue
            for entry in batch:
                self.report(entry.message_id, entry.statuses[1:])

    async def _due(self) -> list[_Waiting]:
        """Wait until there is something to report, and take it from the queue."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._waiting[0].due - loop.time())
        # The first is taken in any case: a timer may ring a moment early.
        now = max(loop.time(), self._waiting[0].due)
        batch = itertools.takewhile(lambda entry: entry.due <= now, itertools.islice(self._waiting, BATCH))
        return [self._waiting.popleft() for _ in list(batch)]

    async def _post_until_taken(self, body: bytes) -> bool:
        for pause in self._pauses:
            if await self._post(body):
                return True
            await asyncio.sleep(pause)
        return await self._post(body)

    async def _post(self, body: bytes) -> bool:
        try:
            reply = await self._http.post("", body, headers=signed_headers(self._secret, body, time.time()))
        except SendError as error:
            self._log.info("report not delivered", reason=error.reason)
            return False
        if 200 <= reply.status < 300:
            return True
        self._log.info("report not taken", status=reply.status)
        return False
