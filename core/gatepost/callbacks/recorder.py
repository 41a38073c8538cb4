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


class _Try(NamedTuple):
    """A try to record the results of some calls."""

    ended: list[EndedCall]
    recorded: asyncio.Task[Sequence[bool]]


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

    def record(self) -> Awaitable[bool]:
        """Record all results that are there when the transaction begins; the answer is False where the store refused some.

        A claim that is made after this returns comes to the store later, so it finds the statuses that follow. Cancelling
        the answer does not cancel the recording.
        """
        self._task = asyncio.create_task(self._end(self._begin()), name="callbacks-record")
        return asyncio.shield(self._task)

    async def close(self) -> None:
        """Try for the last time to record what is left."""
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)
        self._retry_at = 0.0
        if self.is_waiting:
            await self.record()
        if isinstance(self._problem, StatementRefused):
            # Of those that were refused together, one may be the cause.
            self._retry_at = 0.0
            await self.record()
        for callback, _ in (*self._ended, *self._refused):
            _log.error("callback_not_stored", message=callback.message_id, reason=str(self._problem))

    def _begin(self) -> list[_Try]:
        ended: list[EndedCall] = []

        def take() -> Sequence[CallbackResult]:
            ended.extend(self._ended)
            self._ended.clear()
            return [one.result for one in ended]

        tries: list[_Try] = []
        if self._ended:
            tries.append(_Try(ended, asyncio.create_task(self._outbox.finish_callbacks(take))))
        if asyncio.get_running_loop().time() >= self._retry_at:
            # Each by itself, because one of them may be the cause.
            for one in self._refused:
                finish = self._outbox.finish_callbacks(partial(list, [one.result]))
                tries.append(_Try([one], asyncio.create_task(finish)))
            self._refused = []
        return tries

    async def _end(self, tries: Sequence[_Try]) -> bool:
        answers = await asyncio.gather(*(one.recorded for one in tries), return_exceptions=True)
        for (group, _), answer in zip(tries, answers, strict=True):
            if isinstance(answer, StoreBroken):
                self._ended.clear()
            elif isinstance(answer, StoreError):
                self._refused += group
                self._problem = answer
                self._retry_at = asyncio.get_running_loop().time() + polling.RECORD_INTERVAL
            elif isinstance(answer, BaseException):
                raise answer
            else:
                _log_lost_claims(group, answer)
        return not (self._refused or any(isinstance(answer, StoreError) for answer in answers))


def _log_lost_claims(ended: Sequence[EndedCall], recorded: Sequence[bool]) -> None:
    for (callback, _), is_recorded in zip(ended, recorded, strict=True):
        if not is_recorded:
            _log.warning("callback_claim_lost", message=callback.message_id, status=callback.status.value)
