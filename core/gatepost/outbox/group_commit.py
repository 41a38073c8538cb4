"""Group commit: calls that arrive while a commit is under way share the next one.

A transaction costs one sync of the disk, however many rows it carries, and a statement costs about
the same for one row as for ten. So nobody gets a transaction of their own: whoever comes while one is
under way waits for the next, and all of those go together.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from gatepost.errors import StoreBroken, StoreBusy, StoreError
from gatepost.observe import logs
from gatepost.outbox.driver_errors import Lost, Refusal, store_error
from gatepost.outbox.transaction import Transaction

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[Transaction, Sequence[Item]], Sequence[Result]]
"""Does something for several callers in one transaction; one result each, in their order."""

MOST = 256
"""Calls that share a commit: more would not make it cheaper, only slower to answer."""

WAITING = 20_000
"""Calls that may wait; beyond that the store is overloaded and says so at once."""

GATHERING, GATHERINGS = 0.0005, 10
"""Seconds for which further callers are waited for, and how often at the most, as long as each wait brings one.

Otherwise half of the callers come while the other half's commit is under way, and so on for ever: the loop and
the thread that commits then want the interpreter at the same time. To let all come first took three tenths of
the CPU off accepting at 64 connections. Who is alone does not wait.
"""

_TURNS = 3
"""Turns of the loop in which what has arrived is read, and gets here."""

MEMORY = 30.0
"""Seconds that a refusal is remembered: whoever is kept away by it could not show that it is over."""

_log = logs.get(__name__)


class Database(Protocol):
    """Where the rows are: SQLite's SqliteDatabase or PostgreSQL's PostgresDatabase."""

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's."""

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do the work in a transaction; when this returns it is on disk. Raises what the driver raises."""

    async def scrub(self) -> None:
        """Take what was erased out of the database's files too, if now is a good time. Raises StoreError."""

    async def close(self) -> None:
        """Let go of it."""


class Deferred(Generic[Item]):
    """Stands for an item that is made when its transaction begins, and not before."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Item]) -> None:
        """``make`` is called in the loop's thread, once; it must not raise."""
        self.make = make


class _Waiting(Generic[Item, Result]):
    __slots__ = ("future", "item", "work")

    def __init__(
        self, work: Work[Item, Result], item: Item | Deferred[Item], future: asyncio.Future[Result]
    ) -> None:
        self.work = work
        self.item = item
        self.future = future


class GroupCommit:
    """One lane of transactions, one after the other, each for all who are waiting."""

    def __init__(
        self,
        database: Database,
        begin: Callable[[Connection], Transaction],
        broken: asyncio.Future[StoreBroken],
        once: Collection[Work[Any, Any]] = (),
    ) -> None:
        """``broken`` is done when the store can't be trusted any more; lanes of one store share it.

        ``once``: work that is not to be repeated when the connection was lost in the middle of it.
        """
        self._once = once
        self._database = database
        self._begin = begin
        self.broken = broken
        self._waiting: list[_Waiting[Any, Any]] = []
        self._arrived = asyncio.Event()
        self._refused: dict[Work[Any, Any], float] = {}
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="group-commit")

    @property
    def refusing(self) -> bool:
        """Whether some kind of work failed lately, and has not succeeded since.

        By kinds, because on a full disk all goes on that needs no room.
        """
        since = asyncio.get_running_loop().time() - MEMORY
        return any(at > since for at in self._refused.values())

    async def run(self, work: Work[Item, Result], item: Item | Deferred[Item]) -> Result:
        """Do ``work`` for ``item`` in the next transaction; returns once that is committed.

        Raises StoreBusy when it was not done and may be tried again, StoreBroken when the store has to
        be given up. A caller that is cancelled meanwhile does not undo it.
        """
        if self._closing:
            raise StoreBusy("shutting down")
        if self.broken.done():
            raise self.broken.result()
        if len(self._waiting) >= WAITING:
            raise StoreBusy("too many are waiting for the store")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(work, item, future))
        self._arrived.set()
        return await future

    async def close(self) -> None:
        """Finish what is waiting, then take nothing more."""
        self._closing = True
        self._arrived.set()
        await self._task

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                # One turn of the loop: whoever is ready at the same moment comes along.
                await asyncio.sleep(0)
                continue
            await self._gather()
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            for waiting in batch:
                if isinstance(waiting.item, Deferred):
                    waiting.item = waiting.item.make()
            await self._commit(batch)

    async def _gather(self) -> None:
        for _ in range(GATHERINGS):
            waiting = len(self._waiting)
            if waiting == 1 or waiting >= MOST or self._closing:
                return
            await asyncio.sleep(GATHERING)
            # The loop may have been busy for all of that time with answers to the last ones; their next
            # requests are in the sockets' buffers, and a few turns away.
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if len(self._waiting) == waiting:
                return

    async def _commit(self, batch: Sequence[_Waiting[Any, Any]], *, again: bool = True) -> None:
        try:
            results = await self._transaction(batch)
        except Lost as error:
            await self._after_loss(error, batch, again=again)
        except StoreBroken as error:
            self.give_up(error, batch)
        except Exception as error:  # noqa: BLE001  whatever it is, somebody waits for an answer
            known = isinstance(error, StoreError)
            if len(batch) > 1 and (not known or isinstance(error, Refusal)):
                # One of them may be the cause; apart from it, it hurts nobody. A lock or a full disk is
                # nobody's fault, and each alone would wait for it as long as all together.
                middle = len(batch) // 2
                await self._commit(batch[:middle])
                await self._commit(batch[middle:])
                return
            if not known:
                _log.error("outbox_call_failed", error=type(error).__name__, exc_info=error)
            for waiting in batch:
                self._answer(waiting, error if known else Refusal("the store refused this"))
        else:
            for waiting, result in zip(batch, results, strict=True):
                self._refused.pop(waiting.work, None)
                if not waiting.future.done():
                    waiting.future.set_result(result)

    async def _after_loss(self, error: Lost, batch: Sequence[_Waiting[Any, Any]], *, again: bool) -> None:
        """Once more: the server may be back, or only that connection was old. But not what claims.

        A claim that was committed after all would be made a second time, of other rows, and the first would
        be nobody's.
        """
        repeated = [waiting for waiting in batch if again and waiting.work not in self._once]
        for waiting in batch:
            if waiting not in repeated:
                self._answer(waiting, error)
        if repeated:
            await self._commit(repeated, again=False)

    async def _transaction(self, batch: Sequence[_Waiting[Any, Any]]) -> list[Any]:
        if self.broken.done():
            raise self.broken.result()
        try:
            return await self._database.transact(partial(self._together, batch))
        except DBAPIError as error:
            raise store_error(error) from None
        except (OSError, TimeoutError) as error:
            # The driver's own, where there is no connection or nothing comes back over it.
            raise StoreBusy(f"the database can't be reached ({type(error).__name__})") from None

    def give_up(self, error: StoreBroken, batch: Sequence[_Waiting[Any, Any]] = ()) -> None:
        """Do nothing more, for anybody."""
        if not self.broken.done():
            _log.critical("the store can't be trusted any more", reason=str(error))
            self.broken.set_result(error)
        waiting, self._waiting = [*batch, *self._waiting], []
        for one in waiting:
            self._answer(one, error)

    def _answer(self, waiting: _Waiting[Any, Any], error: Exception) -> None:
        if not isinstance(error, Refusal):
            self._refused[waiting.work] = asyncio.get_running_loop().time()
        if not waiting.future.done():
            waiting.future.set_exception(error)

    def _together(self, batch: Sequence[_Waiting[Any, Any]], connection: Connection) -> list[Any]:
        """Each kind of work once, for all who want it; the kinds in the order of their first caller."""
        transaction = self._begin(connection)
        places: dict[Work[Any, Any], list[int]] = {}
        for place, waiting in enumerate(batch):
            places.setdefault(waiting.work, []).append(place)
        results: list[Any] = [None] * len(batch)
        for work, mine in places.items():
            for place, result in zip(mine, work(transaction, [batch[i].item for i in mine]), strict=True):
                results[place] = result
        return results
