"""Changes of all messages that a filter means: counted first, confirmed by a user, then made step by step.

They are in this process alone. A batch is bound to the moment at which it was prepared: messages that are accepted later
are not touched. It can be started once.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial

import msgspec

from gatepost.console.message_query import MessageQuery
from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.outbox.cancellations import CANCELLABLE, Progress
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.message_search import next_ids
from gatepost.outbox.reader import Reader
from gatepost.outbox.retries import RETRYABLE
from gatepost.outbox.states import State
from gatepost.web.admin import cancellations, retries
from gatepost.web.admin.requests import MAX_IDS, CancelRequest, RetryRequest
from gatepost.web.admin.services import AdminServices, OperationRefused

MAX_KEPT = 100
"""BatchChanges that are remembered; the oldest go first, but not those that run."""

MAX_RUNNING = 4
"""BatchChanges that count or run at the same time."""

COUNT_STEP = 5_000
"""Messages that are counted by one read."""

STEP_TIME = 0.1
"""Seconds for which one read searches."""

_log = logs.get(__name__)


class Operation(StrEnum):
    """What can be done to many messages."""

    CANCEL = "cancel"
    RETRY = "retry"
    TELL = "tell"


_STATES = {
    Operation.CANCEL: CANCELLABLE,
    Operation.RETRY: tuple(state for state in State if state in RETRYABLE),
}


class Phase(StrEnum):
    """How far a batch is."""

    COUNTING = "counting"
    READY = "ready"
    """A user has to confirm it."""
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    """Something went wrong; ``problem`` says what."""


class Batch(msgspec.Struct, kw_only=True, eq=False):
    """One change of many messages. The fields after ``accepted_until`` change while it goes on."""

    token: str
    user: ConsoleUser
    """Whose it is, with the clients that the user may see."""
    operation: Operation
    query: MessageQuery
    """Which messages are meant."""
    accepted_until: int
    """Only messages that were accepted by then are changed (milliseconds since the epoch)."""
    phase: Phase = Phase.COUNTING
    counted: int = 0
    """Messages that can be changed, as far as they are counted."""
    shown: int | None = None
    """The number that the user has confirmed, where it was no longer right."""
    changed: int = 0
    unchanged: Counter[str] = msgspec.field(default_factory=Counter)
    """How many messages were not changed, by the reason."""
    problem: str = ""

    @property
    def is_busy(self) -> bool:
        """Whether it goes on by itself."""
        return self.phase in {Phase.COUNTING, Phase.RUNNING}


class BatchChanges:
    """The batches of this process. ``close`` it at the end."""

    def __init__(self, admin: AdminServices, reader: Reader) -> None:
        self._admin = admin
        self._reader = reader
        self._batches: dict[str, Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self, user: ConsoleUser, operation: Operation, query: MessageQuery) -> Batch:
        """Begin to count what an operation would change. Raises OperationRefused and StoreError."""
        if operation is Operation.CANCEL and query.wanted.is_empty:
            raise OperationRefused("Set a filter first: cancelling every message is refused.")
        if len(self._tasks) >= MAX_RUNNING:
            raise OperationRefused("Other changes of many messages are going on: wait until one has ended.")
        batch = Batch(
            token=secrets.token_urlsafe(24),
            user=user,
            operation=operation,
            query=query,
            accepted_until=await self._reader.read(self._reader.clock),
        )
        self._forget_old()
        self._batches[batch.token] = batch
        self._spawn(batch, self._count)
        return batch

    def find(self, token: str, user: ConsoleUser) -> Batch | None:
        """Return the batch with this token, unless it is another user's, or the user was changed since."""
        batch = self._batches.get(token)
        return batch if batch is not None and batch.user == user else None

    def start(self, batch: Batch, number: int, reason: str, actor: str) -> None:
        """Make the changes, unless they were begun already, or are now of another number than the one that was shown."""
        if batch.phase is not Phase.READY:
            return
        if number != batch.counted:
            batch.shown = number
            return
        batch.phase = Phase.COUNTING
        self._spawn(
            batch,
            partial(self._run, request=CancelRequest(wanted=batch.query.wanted, reason=reason), actor=actor),
        )

    async def close(self) -> None:
        """Stop after the steps in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget_old(self) -> None:
        for token, batch in list(self._batches.items()):
            if len(self._batches) >= MAX_KEPT and not batch.is_busy:
                del self._batches[token]

    def _spawn(self, batch: Batch, work: Callable[[Batch], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._guard(batch, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, batch: Batch, work: Callable[[Batch], Awaitable[None]]) -> None:
        try:
            await work(batch)
        except (StoreError, OperationRefused) as error:
            batch.problem = str(error)
        except Exception as error:  # noqa: BLE001  the page waits for an end
            _log.error("internal_error", operation=batch.operation.value, exc_info=error)
            batch.problem = "an internal error, which the gateway's log shows"
        if batch.problem:
            batch.phase = Phase.STOPPED

    async def _count(self, batch: Batch) -> None:
        batch.counted, after, more = 0, "", _can_match(batch)
        while more:
            ids, after = await self._next_ids(batch, after, COUNT_STEP)
            batch.counted += len(ids)
            more = bool(after)
        batch.phase = Phase.READY

    async def _run(self, batch: Batch, request: CancelRequest, actor: str) -> None:
        shown = batch.counted
        await self._count(batch)
        if abs(batch.counted - shown) > max(10, shown // 10):
            batch.shown = shown
            return
        batch.phase, batch.shown = Phase.RUNNING, None
        if batch.operation is Operation.CANCEL:
            await self._cancel(batch, request, actor)
        else:
            await self._repeat(batch, actor)
        batch.phase = Phase.DONE

    async def _cancel(self, batch: Batch, request: CancelRequest, actor: str) -> None:
        progress = Progress(accepted_until=batch.accepted_until)
        while not progress.done:
            request = msgspec.structs.replace(request, progress=progress)
            progress = await cancellations.cancel(self._admin.settings, self._admin.outbox, request, actor)
            batch.changed = progress.found
        if progress.maybe_sent:
            batch.unchanged["being sent now, or perhaps sent already"] = progress.maybe_sent

    async def _repeat(self, batch: Batch, actor: str) -> None:
        after, more = "", True
        while more:
            ids, after = await self._next_ids(batch, after, MAX_IDS)
            more = bool(after)
            if not ids:
                continue
            request = RetryRequest(ids=ids)
            if batch.operation is Operation.RETRY:
                retried = await retries.retry(self._admin.settings, self._admin.outbox, request, actor)
                problems = [one.problem for one in retried if not one.queued]
            else:
                callbacks = await retries.tell_now(self._admin, request, actor)
                problems = [one.problem for one in callbacks if not one.callbacks]
            batch.changed += len(ids) - len(problems)
            batch.unchanged.update(problems)

    async def _next_ids(self, batch: Batch, after: str, limit: int) -> tuple[list[str], str]:
        wanted = _narrowed(batch)
        ids, after = await self._reader.read(
            partial(next_ids, wanted=wanted, after=after, limit=limit, search_time=STEP_TIME)
        )
        return [*ids], after


def _can_match(batch: Batch) -> bool:
    return batch.operation not in _STATES or bool(_narrowed(batch).states)


def _narrowed(batch: Batch) -> MessageFilter:
    """Return the filter for those messages alone that the operation can change."""
    wanted, until = batch.query.wanted, (batch.accepted_until + 1) / 1000
    narrow = msgspec.structs.replace(
        wanted, until=until if wanted.until is None else min(until, wanted.until)
    )
    states = _STATES.get(batch.operation)
    if states is None:
        return msgspec.structs.replace(narrow, failed_callbacks=True)
    chosen = tuple(state for state in states if not wanted.states or state in wanted.states)
    return msgspec.structs.replace(narrow, states=chosen)
