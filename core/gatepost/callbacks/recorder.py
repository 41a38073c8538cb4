"""Recording the results of calls: those that end during one transaction together in the next one."""

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import NamedTuple

from gatepost.errors import StoreBroken, StoreError
from gatepost.observe import logs
from gatepost.outbox import Callback, CallbackResult, Outbox, polling
from gatepost.outbox.driver_errors import StatementRefused

_log = logs.get(__name__)


class EndedCall(NamedTuple):
    """A call whose result is to be recorded."""

    callback: Callback
    result: CallbackResult


class Recorder:
    """The results that are not recorded yet."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._ended: list[EndedCall] = []
        self._refused: list[EndedCall] = []
        self._problem: StoreError | None = None
        self._retry_at = 0.0
        self._task: asyncio.Task[bool] | None = None

    @property
    def refused_count(self) -> int:
        """Number of results that the store has refused so far."""
        return len(self._refused)

    @property
    def is_waiting(self) -> bool:
        """Whether there are results to record."""
        return bool(self._ended or self._refused)

    def add(self, callback: Callback, result: CallbackResult) -> None:
        """Add the result of a call; it changes nothing before ``record``."""
        self._ended.append(EndedCall(callback, result))

    async def record(self) -> bool:
        """Record all results that are there when the transaction begins; return False where the store refused some.

        It is completed although this call is cancelled.
        """
        if not self.is_waiting:
            return True
        self._task = asyncio.create_task(self._record(), name="callbacks-record")
        return await asyncio.shield(self._task)

    async def close(self) -> None:
        """Try for the last time to record what is left."""
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)
        self._retry_at = 0.0
        if self.is_waiting:
            await self._record()
        if isinstance(self._problem, StatementRefused):
            # Of those that were refused together, one may be the cause.
            self._retry_at = 0.0
            await self._record()
        for callback, _ in (*self._ended, *self._refused):
            _log.error("callback_not_stored", message=callback.message_id, reason=str(self._problem))

    async def _record(self) -> bool:
        ended: list[EndedCall] = []

        def take() -> Sequence[CallbackResult]:
            ended.extend(self._ended)
            self._ended.clear()
            return [one.result for one in ended]

        clock = asyncio.get_running_loop().time
        groups: list[list[EndedCall]] = []
        tries: list[Awaitable[Sequence[bool]]] = []
        if self._ended:
            groups.append(ended)
            tries.append(self._outbox.finish_callbacks(take))
        if clock() >= self._retry_at:
            # Each by itself, because one of them may be the cause.
            groups += [[one] for one in self._refused]
            tries += [self._outbox.finish_callbacks(partial(list, [one.result])) for one in self._refused]
            self._refused = []
        answers = await asyncio.gather(*tries, return_exceptions=True)
        for group, answer in zip(groups, answers, strict=True):
            if isinstance(answer, StoreBroken):
                self._ended.clear()
            elif isinstance(answer, StoreError):
                self._refused += group
                self._problem = answer
                self._retry_at = clock() + polling.RECORD_INTERVAL
            elif isinstance(answer, BaseException):
                raise answer
            else:
                _log_lost_claims(group, answer)
        return not (self._refused or any(isinstance(answer, StoreError) for answer in answers))


def _log_lost_claims(ended: Sequence[EndedCall], recorded: Sequence[bool]) -> None:
    for (callback, _), is_recorded in zip(ended, recorded, strict=True):
        if not is_recorded:
            _log.warning("callback_claim_lost", message=callback.message_id, status=callback.status.value)
