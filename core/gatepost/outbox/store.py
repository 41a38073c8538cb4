"""The outbox: what was accepted, what became of it, and what Smartico has still to be told."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from gatepost.errors import ConfigError, Fault, StoreBroken, StoreError
from gatepost.model import Channel, Secret
from gatepost.observe import logs
from gatepost.outbox import (
    callbacks,
    claims,
    deaths,
    maintenance,
    messages,
    postgresql,
    queries,
    reports,
    retries,
    sqlite,
)
from gatepost.outbox.driver_errors import opening_problem
from gatepost.outbox.group_commit import Database, Deferred, GroupCommit
from gatepost.outbox.migrate import migrate
from gatepost.outbox.pooler_probe import expect_sessions
from gatepost.outbox.records import (
    Callback,
    CallbackResult,
    Claim,
    EndedMessage,
    NewMessage,
    Policy,
    RecordResult,
    ReportedEvents,
    SendResult,
    StoredMessage,
    SweepResult,
)
from gatepost.outbox.states import ENDS, State
from gatepost.outbox.transaction import Transaction
from gatepost.outbox.watermark import EVERYTHING, Watermark

_log = logs.get(__name__)

_NO_STORE = (
    "must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE; "
    "in a password write @ as %40 and / as %2F"
)


def new_id() -> str:
    """An ext_message_id: a UUID of version 7 (RFC 9562), so that new rows stand side by side on disk."""
    bits = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    digits = f"{bits & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x7000 << 64 | 0x8000 << 48:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def sqlite_path(url: Secret, base: Path) -> Path | None:
    """The file of a ``sqlite:///`` URL, relative to ``base``; None for PostgreSQL's.

    Raises ConfigError for what is no store's URL at all.
    """
    try:
        parsed = make_url(url.reveal())
    except (ArgumentError, ValueError):
        # A ValueError of a port that is none, which a password with an @ or a / in it may look like.
        raise ConfigError([Fault("store.url", _NO_STORE)]) from None
    if parsed.drivername in {"postgresql", "postgres"}:
        return None
    if parsed.get_backend_name() != "sqlite":
        raise ConfigError([Fault("store.url", _NO_STORE)])
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError(
            [
                Fault(
                    "store.url",
                    "must name a file (sqlite:///PATH): what is in memory does not survive a crash",
                )
            ]
        )
    # However many names a file has, its lock has one.
    return (base / parsed.database).resolve()


class Outbox:
    """Every method is one step that is either on disk when it returns, or did not happen.

    All of them raise StoreBusy or StoreBroken. DialectPair by ``open_outbox``.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[Connection], int],
        policy: Policy,
        *,
        lock: sqlite.FileLock | None = None,
    ) -> None:
        self._database = database
        self._now = now
        self._policy = policy
        self._lock = lock
        self.holder = uuid4().hex
        self._broken: asyncio.Future[StoreBroken] = asyncio.get_running_loop().create_future()
        # SQLite has one writer, and whoever shares its commit saves a sync of the disk. PostgreSQL has many,
        # and there a request must not wait for a thousand reports.
        lanes = [
            GroupCommit(database, self._begin, self._broken, (claims.claim, callbacks.claim_callbacks))
            for _ in range(1 if lock else 4)
        ]
        self._lanes = lanes
        self._accepting, self._sending, self._reporting, self._calling = lanes * (4 // len(lanes))
        self._mended = 0
        # SQLite's index holds what is there and nothing else.
        self._watermarks = {} if lock else {channel: Watermark() for channel in Channel}
        self._call_floors: dict[str, Watermark] | None = None if lock else {}
        self.arrived: Mapping[Channel, asyncio.Event] = {channel: asyncio.Event() for channel in Channel}
        """Set when there may be something to send."""
        self.reported = asyncio.Event()
        """Set when there may be something to tell Smartico."""
        self.ended = Counter({(channel, state): 0 for channel in Channel for state in ENDS})
        """How many messages of a channel came to an end in this process, by the end. One is counted at each of its
        ends: an operator may queue it again, and a report may prove that it was sent after it had failed."""

    @property
    def broken(self) -> asyncio.Future[StoreBroken]:
        """Done when the store can't be trusted any more and the process must stop."""
        return self._broken

    @property
    def refusing(self) -> bool:
        """Whether what was asked of the store lately could not be done, and still can't as far as is known."""
        return any(lane.refusing for lane in self._lanes)

    def give_up(self, reason: str) -> None:
        """The process can't go on, for a reason outside of the store."""
        self._sending.give_up(StoreBroken(reason))

    def _begin(self, connection: Connection) -> Transaction:
        return Transaction(connection, self._now(connection), self.holder, self._policy)

    async def put(self, message: NewMessage) -> StoredMessage:
        """Store a message unless its uid is known; returns what stands under the uid now."""
        stored = await self._accepting.run(messages.put, message)
        if stored.id == message.id:
            self.arrived[message.channel].set()
        return stored

    async def find(self, client: str, channel: Channel, uid: str) -> StoredMessage | None:
        """What stands under a uid."""
        return await self._accepting.run(messages.find, (client, channel.value, uid))

    async def claim(self, channel: Channel, most: int | Callable[[], int], lease: float) -> list[Claim]:
        """Take at most so many messages that are due into our hands, for ``lease`` seconds.

        How many is asked when the transaction begins, which others share: more may be wanted by then.
        """
        watermark = self._watermarks.get(channel)
        since = watermark.since() if watermark else EVERYTHING

        def want() -> claims.Want:
            return claims.Want(channel, most() if callable(most) else most, lease, since)

        claimed = await self._sending.run(claims.claim, Deferred(want))
        if watermark:
            watermark.reached(since, claimed.progress)
        return claimed.claims

    async def claim_suspect(self, channel: Channel, lease: float) -> list[Claim]:
        """Take the suspect that is the longest due into our hands; nothing else may be in them."""
        want = claims.Want(channel, 1, lease, state=State.SUSPECT)
        return (await self._sending.run(claims.claim, want)).claims

    async def channels_with_suspects(self) -> Sequence[Channel]:
        """The channels in which a suspect is due, the longest due first."""
        return await self._sending.run(deaths.channels_with_suspects, None)

    async def give_back(self, channel: Channel, kept: Collection[str]) -> int:
        """Queue again what we hold of a channel besides the messages with these ids; returns how many.

        For a claim that failed without an answer: it may have been made all the same.
        """
        return await self._sending.run(claims.give_back, claims.Kept(channel, frozenset(kept)))

    async def renew(self, claim: Claim, lease: float) -> None:
        """Hold on to a claim for ``lease`` seconds from now."""
        await self._sending.run(claims.renew, claims.Held(claim.id, claim.attempt, lease))

    async def finish(self, outcome: SendResult) -> bool:
        """Record what became of a claim; False when the claim was lost and nothing changed."""
        finished = await self._sending.run(claims.finish, outcome)
        if finished.tells:
            self.reported.set()
        if finished.ended:
            self._note([finished.ended])
        return finished.kept

    async def record(self, reported: ReportedEvents) -> RecordResult:
        """Record what a provider reported."""
        recorded, ended = await self._reporting.run(reports.record, reported)
        self.reported.set()
        self._note(ended)
        return recorded

    async def claim_callbacks(
        self,
        most: int,
        lease: float,
        *,
        client: str = "",
        resting: frozenset[str] = frozenset(),
        only: str = "",
        besides: frozenset[str] = frozenset(),
    ) -> list[Callback]:
        """Take at most so many calls that are due, the longest due first.

        Of one ``client`` or of all, or of all ``besides`` some; none to targets that are ``resting``, or to
        one target ``only``.
        """
        watermark = None
        # The calls of a single target, or of clients that are seldom asked for, may be older than all others.
        if self._call_floors is not None and not only and not besides:
            watermark = self._call_floors.setdefault(client, Watermark())
        since = watermark.since(resting) if watermark else EVERYTHING
        want = callbacks.CallbackClaimRequest(most, lease, client, resting, only, besides, since)
        claimed = await self._calling.run(callbacks.claim_callbacks, want)
        if watermark:
            watermark.reached(since, claimed.progress)
        return claimed.calls

    async def finish_callback(self, callback_result: CallbackResult) -> bool:
        """Record what became of a call; False when the claim was lost and nothing changed."""
        kept = await self._calling.run(callbacks.finish_callbacks, callback_result)
        self.reported.set()
        return kept

    async def sweep(self) -> SweepResult:
        """Move what nobody holds and whose time has come."""
        swept, ended = await self._sending.run(maintenance.sweep, None)
        self._note(ended)
        deaths.log_held(swept.deadly)
        if swept.resent or swept.pulled_in:
            for event in self.arrived.values():
                event.set()
        if swept.failed or swept.calls:
            self.reported.set()
        return swept

    async def mend(self) -> int:
        """Queue some of the statuses that could never be told, if there are any; returns how many.

        Each call looks at the next few, and after the last at the first again.
        """
        mended = await self._calling.run(callbacks.mend, self._mended)
        self._mended = mended.seen
        if mended.queued:
            self.reported.set()
        return mended.queued

    async def prune(self) -> int:
        """Forget some of what ended before the retention; returns how much."""
        return await self._sending.run(maintenance.prune, None)

    async def scrub(self) -> None:
        """Take erased contents out of the files too, when the store has been idle for a while."""
        await self._database.scrub()

    async def orphan_all(self) -> int:
        """At the start of the only process: nobody can be holding what was claimed."""
        orphaned = await self._sending.run(maintenance.orphan_all, None)
        deaths.log_held(orphaned.held)
        return orphaned.lost

    async def retry(self, identity: str, lifetimes: Mapping[Channel, float]) -> retries.MessageRetry:
        """Send a message again that was given up; ``lifetimes`` (seconds) begin anew."""
        retried = await self._sending.run(retries.retry, (identity, lifetimes))
        if retried.queued:
            for event in self.arrived.values():
                event.set()
        return retried

    async def retry_callbacks(self, ids: Sequence[str]) -> list[retries.CallbackRetry]:
        """Have the callbacks of these messages made now that wait for their next try or were given up."""
        callback_retries = await self._calling.run(retries.retry_callbacks, ids)
        self.reported.set()
        return callback_retries

    async def depth(self) -> queries.QueueDepth:
        """How much waits."""
        return await self._sending.run(_depth, None)

    def _note(self, ended: Iterable[EndedMessage]) -> None:
        """Count ends that are on disk by now; log each failed message, since it needs an operator."""
        for one in ended:
            self.ended[one.channel, one.state] += 1
            if one.state is State.FAILED:
                _log.error("message_failed", message=one.id, client=one.client, channel=one.channel.value)

    async def close(self) -> None:
        """Finish what is under way and let go of the store."""
        try:
            for lane in self._lanes:
                await lane.close()
            await self._database.close()
        finally:
            if self._lock is not None:
                self._lock.release()


@asynccontextmanager
async def open_outbox(
    url: Secret, base: Path, policy: Policy, clock: Callable[[], float] = time.time
) -> AsyncIterator[Outbox]:
    """Open the store and bring its tables up to date; on SQLite take back what a dead process held.

    ``clock`` (seconds since the epoch) is that of SQLite's process; PostgreSQL has its own. Raises
    ConfigError when the store can't be opened, or when another process has it.
    """
    path = sqlite_path(url, base)
    opened = _on_postgresql(url, policy) if path is None else _on_sqlite(path, policy, clock)
    async with opened as outbox:
        yield outbox


@asynccontextmanager
async def _on_sqlite(path: Path, policy: Policy, clock: Callable[[], float]) -> AsyncIterator[Outbox]:
    lock = sqlite.FileLock(path)
    lock.acquire()
    try:
        database = sqlite.SqliteDatabase(path)
        await _upgrade(database, str(path), migrate)
    except BaseException:
        lock.release()
        raise
    outbox = Outbox(database, sqlite.clock_of(clock), policy, lock=lock)
    try:
        try:
            await outbox.orphan_all()
        except StoreError as error:
            raise ConfigError([Fault("store.url", f"{path}: {error}")]) from None
        yield outbox
    finally:
        await outbox.close()


@asynccontextmanager
async def _on_postgresql(url: Secret, policy: Policy) -> AsyncIterator[Outbox]:
    await expect_sessions(url)
    database = postgresql.PostgresDatabase(url)

    def alone(connection: Connection) -> None:
        postgresql.alone(connection)
        migrate(connection)

    await _upgrade(database, "the database", alone)
    outbox = Outbox(database, postgresql.now, policy)
    try:
        yield outbox
    finally:
        await outbox.close()


async def _upgrade(database: Database, name: str, upgrade: Callable[[Connection], object]) -> None:
    try:
        try:
            await database.transact(upgrade)
        except DBAPIError as error:
            raise ConfigError([Fault("store.url", opening_problem(name, error))]) from None
        except (OSError, ValueError) as error:
            # Before there is a connection the driver raises what its socket or its parser did.
            problem = f"{name} can't be reached ({type(error).__name__})"
            raise ConfigError([Fault("store.url", problem)]) from None
    except BaseException:
        await database.close()
        raise


def _depth(tx: Transaction, asked: Sequence[None]) -> list[queries.QueueDepth]:
    return [queries.depth(tx.connection, tx.now)] * len(asked)
