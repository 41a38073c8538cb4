"""The sender of reports: a queue in memory, and the task that empties it.

A real provider would keep its reports on disk. Here, reports that are pending when the process ends are lost.
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
from gatepost_sandbox.reports import ReportItem, encode_body, signed_headers

MAX_PENDING = 10_000
"""Messages that may wait for their reports; further messages are not reported."""
MAX_BATCH = 100
"""Messages in one request."""
RETRY_DELAYS = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6)
"""Seconds before each retry of a request that got no 2xx; after the last retry it is given up."""


class _PendingMessage(NamedTuple):
    due: float
    """By the event loop's clock."""
    message_id: str
    statuses: tuple[str, ...]


class Reporter:
    """Reports the statuses of each message one by one, ``delay`` seconds apart."""

    def __init__(
        self,
        http: Http,
        secret: Secret,
        log: BoundLogger,
        *,
        delay: float,
        retry_delays: Sequence[float] = RETRY_DELAYS,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._http = http
        self._secret = secret
        self._log = log
        self._delay = delay
        self._retry_delays = retry_delays
        self._max_pending = max_pending
        # In the order of their due times, because all have the same delay.
        self._queue: deque[_PendingMessage] = deque()
        self._not_empty = asyncio.Event()
        self._full = False

    @property
    def pending(self) -> int:
        """The number of messages that wait for a report, without those of a request in flight."""
        return len(self._queue)

    def report(self, message_id: str, statuses: tuple[str, ...]) -> None:
        """Put a message's reports into the queue; return at once."""
        if not statuses:
            return
        if len(self._queue) >= self._max_pending:
            # Logged once, and not for every message of a burst.
            if not self._full:
                self._log.warning(
                    "report_queue_full",
                    problem="reports of further messages are dropped",
                    pending=len(self._queue),
                )
            self._full = True
            return
        self._full = False
        due = asyncio.get_running_loop().time() + self._delay
        self._queue.append(_PendingMessage(due, message_id, statuses))
        self._not_empty.set()

    async def run(self) -> None:
        """Report until the task is cancelled."""
        while True:
            batch = await self._next_batch()
            body = encode_body([ReportItem(entry.message_id, entry.statuses[0]) for entry in batch])
            if not await self._post_with_retries(body):
                self._log.error(
                    "reports_given_up", problem="the gateway does not accept them", messages=len(batch)
                )
                continue
            for entry in batch:
                self.report(entry.message_id, entry.statuses[1:])

    async def _next_batch(self) -> list[_PendingMessage]:
        """Wait until a report is due, and take all that are due from the queue, up to MAX_BATCH."""
        while not self._queue:
            self._not_empty.clear()
            await self._not_empty.wait()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._queue[0].due - loop.time())
        # A timer may fire a moment early; the first entry counts as due all the same.
        now = max(loop.time(), self._queue[0].due)
        batch = itertools.takewhile(lambda entry: entry.due <= now, itertools.islice(self._queue, MAX_BATCH))
        return [self._queue.popleft() for _ in list(batch)]

    async def _post_with_retries(self, body: bytes) -> bool:
        for delay in self._retry_delays:
            if await self._post(body):
                return True
            await asyncio.sleep(delay)
        return await self._post(body)

    async def _post(self, body: bytes) -> bool:
        try:
            reply = await self._http.post("", body, headers=signed_headers(self._secret, body, time.time()))
        except SendError as error:
            self._log.info("report_not_delivered", reason=error.reason)
            return False
        if 200 <= reply.status < 300:
            return True
        self._log.info("report_refused", status=reply.status)
        return False
