"""Group commit: calls that arrive while a commit is in progress share the next one.

A transaction costs one sync of the disk, however many rows it carries, and a statement costs about the same for one
row as for ten. So no call gets a transaction of its own: calls that arrive during a transaction wait for the next
one, which carries all of them.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from gatepost.errors import StoreBroken, StoreBusy, StoreError
from gatepost.observe import logs
from gatepost.outbox import audit_chain, counters, statistics
from gatepost.outbox.driver_errors import ConnectionLost, StatementRefused, store_error
from gatepost.outbox.transaction import Transaction

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[Transaction, Sequence[Item]], Sequence[Result]]
"""A function that serves several calls in one transaction: from their items to their results, in the same order."""

MAX_BATCH = 256
"""Calls that share a commit: a larger batch would not be cheaper per call, only slower to answer."""

MAX_PENDING = 20_000
"""Calls that may wait; beyond that the store is overloaded, and a new call fails at once."""

GATHER_INTERVAL = 0.0005
"""Seconds that a batch waits for further calls, again and again as long as each wait brings at least one.

Without this wait, half of the calls arrive during the commit of the other half, in every commit: the event loop and
the thread that commits then compete for the interpreter. Waiting until all have arrived saved three tenths of the CPU
of accepting at 64 connections. A call that is alone does not wait.
"""

MAX_GATHER_ROUNDS = 10
"""The largest number of waits of GATHER_INTERVAL for one batch."""

_LOOP_TURNS = 3
"""Turns of the event loop that a request needs from a socket's buffer to its call here."""

FAILURE_MEMORY = 30.0
"""Seconds for which a failure is remembered. Not longer: a load balancer that avoids this gateway because of it sends
no work, and without work the gateway can't show that the failure is over."""

_log = logs.get(__name__)


class Database(Protocol):
    """Where the rows are: SqliteDatabase or PostgresDatabase."""

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine."""

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do the work in a transaction, which is on disk when this returns. Raises the driver's errors."""

    async def purge_wal(self) -> None:
        """Remove erased contents from the database's log file, when it is idle. Raises StoreError."""

    async def erase_copies(self) -> None:
        """Remove copies of erased rows from the database's files, as far as that is possible. Raises StoreError."""

    async def close(self) -> None:
        """Close all connections."""


class Deferred(Generic[Item]):
    """An item that is created only when its transaction begins."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Item]) -> None:
        """``make`` is called once, in the event loop's thread; its errors are those of the call."""
        self.make = make


class _Call(Generic[Item, Result]):
    """A call that waits for its transaction."""

    __slots__ = ("future", "item", "work")

    def __init__(
        self, work: Work[Item, Result], item: Item | Deferred[Item], future: asyncio.Future[Result]
    ) -> None:
        self.work = work
        self.item = item
        self.future = future


def _make_item(call: _Call[Any, Any]) -> bool:
    """Create the item of a call if it is deferred; return False where that failed, and with it the call."""
    if isinstance(call.item, Deferred):
        try:
            call.item = call.item.make()
        except Exception as error:  # noqa: BLE001  an error of one call must not end the lane
            if not call.future.done():
                call.future.set_exception(error)
            return False
    return True


class GroupCommit:
    """One lane of transactions, one after the other, each for all calls that wait."""

    def __init__(
        self,
        database: Database,
        begin: Callable[[Connection], Transaction],
        failure: asyncio.Future[StoreBroken],
        not_repeatable: Collection[Work[Any, Any]] = (),
        committed: Callable[[Transaction], None] = lambda _: None,
    ) -> None:
        """``failure`` is done when the store can't be trusted any more; all lanes of a store share it.

        ``committed`` is called with each transaction that is on disk, before its calls return; it must not raise.

        ``not_repeatable``: work that must not be repeated after the connection was lost in the middle of it.
        """
        self._not_repeatable = not_repeatable
        self._committed = committed
        self._database = database
        self._begin = begin
        self.failure = failure
        self._loop = asyncio.get_running_loop()
        self._pending: list[_Call[Any, Any]] = []
        self._call_arrived = asyncio.Event()
        self._failed_at: dict[Work[Any, Any], float] = {}
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="group-commit")

    @property
    def is_failing(self) -> bool:
        """Whether some kind of work failed within FAILURE_MEMORY and has not succeeded since.

        By kind of work, because on a full disk all work that needs no space still succeeds.
        """
        since = asyncio.get_running_loop().time() - FAILURE_MEMORY
        return any(failed_at > since for failed_at in self._failed_at.values())

    async def run(self, work: Work[Item, Result], item: Item | Deferred[Item]) -> Result:
        """Do ``work`` for ``item`` in the next transaction; return its result once that is committed.

        Raises StoreBusy when it was not done and may be tried again, StoreBroken when the store can't be trusted any
        more. If the calling task is cancelled meanwhile, the work is done all the same.
        """
        if self._closing:
            raise StoreBusy("shutting down")
        if self.failure.done():
            raise self.failure.result()
        if len(self._pending) >= MAX_PENDING:
            raise StoreBusy("too many calls are waiting for the store")
        future: asyncio.Future[Result] = self._loop.create_future()
        self._pending.append(_Call(work, item, future))
        if len(self._pending) == 1:
            self._call_arrived.set()
        return await future

    async def close(self) -> None:
        """Finish the calls that wait, and refuse new ones."""
        self._closing = True
        self._call_arrived.set()
        await self._task

    async def _run(self) -> None:
        while True:
            if not self._pending:
                if self._closing:
                    return
                self._call_arrived.clear()
                await self._call_arrived.wait()
                # One turn of the loop, so that calls made at the same moment come along.
                await asyncio.sleep(0)
                continue
            await self._gather()
            batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
            batch = list(filter(_make_item, batch))
            if batch:
                await self._commit(batch)

    async def _gather(self) -> None:
        for _ in range(MAX_GATHER_ROUNDS):
            count = len(self._pending)
            if count == 1 or count >= MAX_BATCH or self._closing:
                return
            await asyncio.sleep(GATHER_INTERVAL)
            # The loop may have spent all of that time on answers to the last batch; the next requests are in the
            # sockets' buffers, a few turns away.
            for _ in range(_LOOP_TURNS):
                await asyncio.sleep(0)
            if len(self._pending) == count:
                return

    async def _commit(self, batch: Sequence[_Call[Any, Any]], *, may_repeat: bool = True) -> None:
        try:
            results, transaction = await self._transaction(batch)
        except ConnectionLost as error:
            await self._after_connection_loss(error, batch, may_repeat=may_repeat)
        except StoreBroken as error:
            self.fail(error, batch)
        except Exception as error:  # noqa: BLE001  the calls wait for an answer, also after an unknown error
            is_known = isinstance(error, StoreError)
            if len(batch) > 1 and (not is_known or isinstance(error, StatementRefused)):
                # One call may be the cause, so halve the batch until it fails alone. A locked file or a full disk
                # has no such cause: there each call alone would wait as long as all together.
                middle = len(batch) // 2
                await self._commit(batch[:middle])
                await self._commit(batch[middle:])
                return
            if not is_known:
                _log.error("outbox_call_failed", error=type(error).__name__, exc_info=error)
            for call in batch:
                self._reject(
                    call, error if is_known else StatementRefused("the store refused this statement")
                )
        else:
            self._committed(transaction)
            self._resolve(batch, results)

    def _resolve(self, batch: Sequence[_Call[Any, Any]], results: Sequence[Any]) -> None:
        for work in {call.work for call in batch}:
            self._failed_at.pop(work, None)
        for call, result in zip(batch, results, strict=True):
            if not call.future.done():
                call.future.set_result(result)

    async def _after_connection_loss(
        self, error: ConnectionLost, batch: Sequence[_Call[Any, Any]], *, may_repeat: bool
    ) -> None:
        """Repeat the batch once, except its claims: the server may be back, or only that connection was old.

        If a lost claim was committed after all, its repetition would claim other rows, and the first ones would
        wait for the end of their lease.
        """
        repeatable = [call for call in batch if may_repeat and call.work not in self._not_repeatable]
        for call in batch:
            if call not in repeatable:
                self._reject(call, error)
        if repeatable:
            await self._commit(repeatable, may_repeat=False)

    async def _transaction(self, batch: Sequence[_Call[Any, Any]]) -> tuple[list[Any], Transaction]:
        if self.failure.done():
            raise self.failure.result()
        try:
            return await self._database.transact(partial(self._work, batch))
        except DBAPIError as error:
            raise store_error(error) from None
        except (OSError, TimeoutError) as error:
            # From the driver, when there is no connection or no answer comes over it.
            raise StoreBusy(f"the database can't be reached ({type(error).__name__})") from None

    def fail(self, error: StoreBroken, batch: Sequence[_Call[Any, Any]] = ()) -> None:
        """Stop all work of the store: fail this batch, the calls that wait, and every later call."""
        if not self.failure.done():
            _log.critical("store_broken", reason=str(error))
            self.failure.set_result(error)
        calls, self._pending = [*batch, *self._pending], []
        for call in calls:
            self._reject(call, error)

    def _reject(self, call: _Call[Any, Any], error: Exception) -> None:
        if not isinstance(error, StatementRefused):
            self._failed_at[call.work] = asyncio.get_running_loop().time()
        if not call.future.done():
            call.future.set_exception(error)

    def _work(
        self, batch: Sequence[_Call[Any, Any]], connection: Connection
    ) -> tuple[list[Any], Transaction]:
        """Run each kind of work once, for all its calls; the kinds in the order of their first calls, claims near the end.

        Claims may lock the turns of an instance. After that lock they must wait for no other one, or two replicas could
        wait for each other. ``statistics.roll_up`` comes last for the same reason, and after it the audit log.
        """
        transaction = self._begin(connection)
        places_by_work: dict[Work[Any, Any], list[int]] = {}
        for place, call in enumerate(batch):
            places_by_work.setdefault(call.work, []).append(place)
        results: list[Any] = [None] * len(batch)
        for work in sorted(places_by_work, key=self._rank):
            places = places_by_work[work]
            items = [batch[place].item for place in places]
            for place, result in zip(places, work(transaction, items), strict=True):
                results[place] = result
        counters.write_changes(transaction)
        statistics.write_changes(transaction)
        audit_chain.write_entries(transaction)
        return results, transaction

    def _rank(self, work: Work[Any, Any]) -> int:
        return 2 if work is statistics.roll_up else int(work in self._not_repeatable)
