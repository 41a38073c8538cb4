"""What the provider delivers: each deliver_sm is acknowledged once its report is stored."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from gatepost.errors import Unavailable
from gatepost.hookspecs import Context
from gatepost.model import Report, Status, StatusEvent
from gatepost_smpp.pdu import Pdu, answer
from gatepost_smpp.receipts import canonical_id, read_report
from gatepost_smpp.settings import Settings

_MAX_WAITING, _MAX_REMEMBERED = 1_000, 10_000
_PAUSE = 1.0
"""Seconds until a report is passed on again: the store may be back, or the answer to the send stored by then."""
_TRY_LATER = 0x64
"""ESME_RX_T_APPN: the provider delivers it again later."""


class Deliveries:
    """The deliveries of all binds, each in a task of its own."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._tasks: set[asyncio.Task[None]] = set()
        self._own_ids: dict[str, str] = {}

    def remember(self, provider_id: str, message_id: str) -> None:
        """Remember our id of a message, as a receipt may come before the answer to its send is stored."""
        self._own_ids[provider_id] = message_id
        if len(self._own_ids) > _MAX_REMEMBERED:
            del self._own_ids[next(iter(self._own_ids))]

    def take(self, connection: asyncio.StreamWriter, request: Pdu) -> None:
        """Record a deliver_sm and acknowledge it."""
        if len(self._tasks) < _MAX_WAITING:
            self.begin(self._take(connection, request))
        else:
            answer(connection, request, b"\0", status=_TRY_LATER)

    def take_late_answer(self, message_id: str, late: Pdu) -> None:
        """Record that the provider has a message whose send has ended as uncertain."""
        if not late.status:
            provider_id = canonical_id(late.body, self._settings, answered=True)
            self.remember(provider_id, message_id)
            event = StatusEvent(status=Status.ACCEPTED, message_id=message_id, provider_id=provider_id)
            self.begin(self._record(Report(events=[event])))

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something until it ends or ``close`` ends it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all at one time, so that no bind takes any more; what is not stored the provider delivers again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, connection: asyncio.StreamWriter, request: Pdu) -> None:
        status = 0
        try:
            async with asyncio.timeout(self._context.timeout):
                if await self._record(read_report(request.body, self._settings, self._own_ids)):
                    # Its answer may have come since, here or to another replica.
                    await asyncio.sleep(_PAUSE)
                    await self._record(read_report(request.body, self._settings, self._own_ids))
        except TimeoutError:
            status = _TRY_LATER
        answer(connection, request, b"\0", status=status)

    async def _record(self, report: Report) -> int:
        """Pass a report on until it is stored; return how many of its events are of no known message."""
        while True:
            try:
                return await self._context.report(report)
            except Unavailable:
                await asyncio.sleep(_PAUSE)
