"""Lookups of one contact source that wait at the same moment go to it together, in one call of ``find_contacts``.

A lookup never waits for others to come: it goes at once while fewer than MAX_CALLS calls are in progress. Those that
come meanwhile are the next call. So a source that is fast enough gets single lookups, and a slow one gets large batches.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextvars import Context
from typing import NamedTuple, TypeAlias

from gatepost.errors import Unavailable
from gatepost.model import Contact
from gatepost.plugin_host.source import Source

MAX_CALLS = 2
"""Calls of one source at the same time: one that hangs does not stop the others."""

MAX_IDS = 100
"""Users in one call."""

_Answer: TypeAlias = Contact | Unavailable | None
# Not an exception of the future: a lookup that is cancelled at that moment would never retrieve it.
_Future: TypeAlias = "asyncio.Future[_Answer]"


class _Lookup(NamedTuple):
    """A lookup that waits."""

    ext_user_id: str
    since: float
    future: _Future


class GatheredLookups:
    """The lookups of one source, which implements ``find_contacts``."""

    def __init__(self, source: Source, timeout: float, name: str) -> None:
        """``timeout`` is in seconds and for each call; ``name`` is that of the instance."""
        self._source = source
        self._timeout = timeout
        self._name = name
        self._calls = 0
        """Calls in progress; MAX_CALLS as long as a lookup waits."""
        self._waiting: deque[_Lookup] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, ext_user_id: str) -> Contact | None:
        """Look a user up.

        Raises Unavailable, and nothing else: also for a lookup that has waited for ``timeout`` seconds when its turn
        comes, as it would have been cancelled by then without the others.
        """
        if self._calls < MAX_CALLS:
            self._calls += 1
            try:
                return await self._source.find_contact(ext_user_id, self._timeout)
            finally:
                self._end_call()
        loop = asyncio.get_running_loop()
        lookup = _Lookup(ext_user_id, loop.time(), loop.create_future())
        self._waiting.append(lookup)
        answer = await lookup.future
        if isinstance(answer, Unavailable):
            # A copy: each of its lookups raises it.
            raise Unavailable(answer.reason, code=answer.code, misconfigured=answer.misconfigured)
        return answer

    def _end_call(self) -> None:
        """Note the end of a call, and begin the next one."""
        self._calls -= 1
        while self._calls < MAX_CALLS and (batch := self._next_batch()):
            self._calls += 1
            # In a context of its own: it belongs to no single message.
            task = asyncio.create_task(self._call(batch), context=Context(), name=f"lookups-{self._name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next_batch(self) -> dict[str, list[_Future]]:
        """Return the lookups of the next call by user; empty when none waits."""
        batch: dict[str, list[_Future]] = {}
        too_late = asyncio.get_running_loop().time() - self._timeout
        while self._waiting and len(batch) < MAX_IDS:
            lookup = self._waiting.popleft()
            if lookup.future.done():
                continue
            if lookup.since <= too_late:
                late = Unavailable("the lookups before it took too long")
                self._source.note_failure(late.reason)
                lookup.future.set_result(late)
                continue
            batch.setdefault(lookup.ext_user_id, []).append(lookup.future)
        return batch

    async def _call(self, batch: Mapping[str, Sequence[_Future]]) -> None:
        """Look these users up, and answer each lookup that still waits."""
        call = asyncio.current_task()
        assert call is not None
        waiting = [future for futures in batch.values() for future in futures]

        def cancel_if_unwanted(_future: object) -> None:
            if all(future.cancelled() for future in waiting):
                call.cancel()

        for future in waiting:
            future.add_done_callback(cancel_if_unwanted)
        answers: Mapping[str, _Answer] = dict.fromkeys(batch, Unavailable("the lookup was interrupted"))
        try:
            answers = await self._find(list(batch))
        finally:
            for ext_user_id, futures in batch.items():
                for future in futures:
                    if not future.done():
                        future.set_result(answers.get(ext_user_id))
            self._end_call()

    async def _find(self, ext_user_ids: Sequence[str]) -> Mapping[str, _Answer]:
        try:
            if len(ext_user_ids) > 1:
                return await self._source.find_contacts(ext_user_ids, self._timeout)
            return {ext_user_ids[0]: await self._source.find_contact(ext_user_ids[0], self._timeout)}
        except Unavailable as error:
            return dict.fromkeys(ext_user_ids, error)
