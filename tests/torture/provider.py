"""The provider of a deployment: the SendGrid emulator with delays, failures and reports."""

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar

from aiohttp import web

from gatepost.testing.emulator import NO_FAILURE, Failure
from gatepost.testing.report_sender import TakenMessage
from gatepost_sendgrid.testing import SendGridEmulator
from torture.oracle import Excuse

REPORT_TRIES = 100
REPORT_PAUSE = 0.2
"""Tries to deliver a report, and seconds between them; a real provider tries for a day."""

_current_failure: ContextVar[Failure] = ContextVar("current_failure", default=NO_FAILURE)
_taken_ids: ContextVar[list[str]] = ContextVar("taken_ids")


class Provider(SendGridEmulator):
    """A provider that takes time for each message, notes when it took which, and reports about all of them."""

    def __init__(self, rng: random.Random, *, reports: bool, max_delay: float) -> None:
        """``max_delay`` is the longest time in seconds before a message is taken, and again before the answer."""
        super().__init__()
        self.time_scale = 0.005
        self.send_times: list[tuple[float, str]] = []
        """When which message was taken."""
        self.acknowledged_reports: dict[str, set[str]] = {}
        """By message id, the statuses whose report the gateway answered with 200."""
        self.open_requests = 0
        """Requests that are not answered yet."""
        self.answer_timeout = math.inf
        """Seconds after which a gateway may have stopped waiting for an answer."""
        self.next_webhook: Callable[[], str] = lambda: self.webhook_url
        """Returns the URL for the next try to deliver a report, as a load balancer would choose it."""
        self.next_failure: Callable[[], Failure] = lambda: NO_FAILURE
        """Returns what goes wrong with the next request."""
        self.failures = 0
        """Requests that went wrong as ``next_failure`` said."""
        self.lost_answers: list[Excuse] = []
        """Messages that were taken, although the answer to the gateway was made to fail."""
        self.late_answers: list[Excuse] = []
        """Messages that were taken, but the answer came too late by itself, as on a busy machine."""
        self.may_report = asyncio.Event()
        """Reports wait while it is not set."""
        self.may_report.set()
        self._rng = rng
        self._max_delay = max_delay
        self._reports_all = reports
        self._own_report_tasks: set[asyncio.Task[None]] = set()

    def plugin_table(self, _replica: int) -> Mapping[str, object]:
        """Return the table of the plugin that sends through this provider, for the replica with this number."""
        return {"use": "sendgrid", **self.table}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        failure = self.next_failure() if request.path == "/v3/mail/send" else NO_FAILURE
        self.failures += failure is not NO_FAILURE
        self.plan(failure)
        _current_failure.set(failure)
        _taken_ids.set(taken := [])
        began = time.monotonic()
        response = await super().handle(request)
        is_gone = request.transport is None or request.transport.is_closing()
        is_late = time.monotonic() - began > self.answer_timeout
        if taken and failure is NO_FAILURE and (is_gone or is_late):
            self.late_answers.append(Excuse(time.monotonic(), frozenset(taken)))
        return response

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        self.open_requests += 1
        try:
            await asyncio.sleep(self._rng.uniform(0, self._max_delay))
            response = await super().answer_to(request, body)
            await asyncio.sleep(self._rng.uniform(0, self._max_delay))
        finally:
            self.open_requests -= 1
        return response

    async def take(self, taken: TakenMessage) -> None:
        self.send_times.append((time.monotonic(), taken.id))
        _taken_ids.get().append(taken.id)
        if _current_failure.get() is not NO_FAILURE:
            self.lost_answers.append(Excuse(time.monotonic(), frozenset({taken.id})))
        await super().take(taken)
        if self._reports_all:
            task = asyncio.create_task(self._send_reports(taken))
            self._own_report_tasks.add(task)
            task.add_done_callback(self._own_report_tasks.discard)

    async def _send_reports(self, taken: TakenMessage) -> None:
        for kind, status in (("delivered", "delivered"), ("open", "opened")):
            await asyncio.sleep(self._rng.uniform(0, 2 * self._max_delay))
            if await self._send_report(kind, taken):
                self.acknowledged_reports.setdefault(taken.id, set()).add(status)

    async def _send_report(self, kind: str, taken: TakenMessage) -> bool:
        await self.may_report.wait()
        for _ in range(REPORT_TRIES):
            (status,) = await self.report([self.event(kind, taken)], to=self.next_webhook())
            if not self.tries_again(status):
                return status == 200
            await asyncio.sleep(REPORT_PAUSE)
        return False

    async def wait_until_reported(self) -> None:
        """Wait until each report is acknowledged or given up."""
        while self._own_report_tasks:
            await asyncio.gather(*self._own_report_tasks)
