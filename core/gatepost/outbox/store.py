"""The outbox: accepted messages, their results, and the callbacks to Smartico."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from uuid import uuid4

from sqlalchemy import Connection

from gatepost.errors import StoreBroken
from gatepost.model import Channel
from gatepost.observe.trail import NO_TRAIL, Trail
from gatepost.outbox import (
    callback_results,
    callbacks,
    claims,
    deaths,
    decisions,
    maintenance,
    messages,
    pauses,
    queries,
    queues,
    reports,
    retries,
    send_results,
    sqlite,
    stuck_statuses,
)
from gatepost.outbox.claims import ClaimBatch, ClaimRequest
from gatepost.outbox.end_counts import EndCounts
from gatepost.outbox.group_commit import Database, Deferred, Item, Result, Work
from gatepost.outbox.lanes import LANES, open_lanes
from gatepost.outbox.measurements import Measurements
from gatepost.outbox.missing_keys import MissingKeys
from gatepost.outbox.records import (
    Callback,
    CallbackResult,
    Claim,
    EndedMessage,
    Limit,
    NewMessage,
    Policy,
    Queue,
    RecordResult,
    ReportedEvents,
    SendResult,
    StoredMessage,
    SweepResult,
)
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction


class Outbox:
    """The store of messages and statuses. When a method returns, its change is on disk; if it raises, nothing changed.

    Every method raises StoreBusy or StoreBroken. It has more than 15 methods because it is the only way into the store: one
    for each change that acceptance, delivery, webhooks, callbacks, maintenance or an operator makes. The methods only
    choose the lane and set the signals; the work is in the modules of this package.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[Connection], int],
        policy: Policy,
        *,
        lock: sqlite.FileLock | None = None,
        trail: Trail = NO_TRAIL,
    ) -> None:
        """``lock`` is the file lock on SQLite, None where replicas share the store; ``now`` is the database's clock."""
        self._database = database
        self._now = now
        self.policy = policy
        """How messages are treated; a reload replaces it."""
        self._lock = lock
        self.is_shared = lock is None
        self.holder = uuid4().hex
        self._failure: asyncio.Future[StoreBroken] = asyncio.get_running_loop().create_future()
        self.trail = trail
        holder = "" if lock else self.holder
        self.measurements = Measurements()
        self._lanes = open_lanes(database, self._begin, self._failure, trail, self.measurements, holder)
        by_use = self._lanes * (LANES // len(self._lanes))
        self._accept_lane, self._send_lane, self._report_lane, self._callback_lane = by_use
        self._last_searched_seq = 0
        # Not on SQLite, whose indexes keep no dead entries.
        self._watermarks = claims.QueueWatermarks(active=lock is None)
        self._callback_watermarks = callbacks.CallbackWatermarks(active=lock is None)
        self._queues: dict[queues.QueueName, Queue] = {}
        # One object for all calls, because calls of the same work share a transaction.
        self._put = partial(messages.put, self._queues)
        self.queue_signals = queues.QueueSignals()
        """Which queues may have due messages."""
        self.callbacks_due = asyncio.Event()
        """Set when a callback may be due."""
        self.end_counts = EndCounts()
        self.pauses = pauses.Pauses()
        self.missing_keys = MissingKeys()

    @property
    def failure(self) -> asyncio.Future[StoreBroken]:
        """Done, with the reason, when the store can't be trusted any more and the process must stop."""
        return self._failure

    @property
    def is_failing(self) -> bool:
        """Whether some kind of work failed lately and has not succeeded since."""
        return any(lane.is_failing for lane in self._lanes)

    def fail(self, reason: str) -> None:
        """Stop all work, for a reason outside of the store after which the process can't go on."""
        self._send_lane.fail(StoreBroken(reason))

    def _begin(self, connection: Connection, shard: str = "") -> Transaction:
        return Transaction(connection, self._now(connection), self.holder, self.policy, shard)

    async def put(self, message: NewMessage) -> StoredMessage | Limit:
        """Store a message unless its uid is known, its user suppressed or a limit reached; return what stands."""
        stored, queue = await self._accept_lane.run(self._put, message)
        self._queues[queue.channel, queue.route, queue.client] = queue
        if isinstance(stored, StoredMessage) and stored.id == message.id:
            self.queue_signals.add(queue)
        return stored

    async def find(self, client: str, channel: Channel, uid: str, user: str = "") -> StoredMessage | None:
        """Return what is stored under a uid; else the suppression of this user, where one is given; or None."""
        return await self._accept_lane.run(messages.find, ((client, channel.value, uid), user))

    async def claim(self, plan: Callable[[], Sequence[ClaimRequest]]) -> Sequence[ClaimBatch]:
        """Claim due messages for each request of a plan, which is made only when the transaction begins."""
        requests: list[ClaimRequest] = []

        def make() -> Sequence[ClaimRequest]:
            requests.extend(map(self._watermarks.apply, plan()))
            return requests

        batches = await self._send_lane.run(claims.claim, Deferred(make))
        self._watermarks.advance(requests, batches)
        return batches

    async def move(self, decision: decisions.Decision) -> Queue | Limit | None:
        """Queue a claimed message by its route; return its queue, a reached limit, or None for a lost claim."""
        moved = await self._send_lane.run(decisions.move, decision)
        if isinstance(moved, Queue):
            self.queue_signals.add(moved)
        return moved

    async def due_queues(self, state: State = State.QUEUED) -> Sequence[Queue]:
        """Return the queues in which a message is due in this state, QUEUED or SUSPECT."""
        reached = self._watermarks.reached() if state is State.QUEUED else {}
        return await self._send_lane.run(queues.due_queues, queues.DueQuestion(state, reached))

    async def release_claims(self, ids_in_progress: Collection[str]) -> int:
        """Queue again this process's claims, except these ids; return how many.

        For use after a claim that failed without an answer: it may have been committed all the same.
        """
        return await self._send_lane.run(claims.release_claims, frozenset(ids_in_progress))

    async def renew(self, claim: Claim, lease: float) -> None:
        """Extend a claim to ``lease`` seconds from now."""
        await self._send_lane.run(claims.renew, claims.Renewal(claim.id, claim.attempt, lease))

    async def finish(self, result: SendResult) -> bool:
        """Record the result of a claim; return False when the claim was lost and nothing was changed."""
        finished = await self._send_lane.run(send_results.finish, result)
        ended = [finished.end] if finished.end else ()
        self._note(ended, queued=finished.due_now, callbacks_due=finished.callback_due)
        return finished.recorded

    async def record(self, reported: ReportedEvents) -> RecordResult:
        """Record the events that a provider reported."""
        recording = await self._report_lane.run(reports.record, reported)
        self._note(recording.ended, queued=recording.queued, callbacks_due=True)
        return recording.result

    async def claim_callbacks(
        self, plan: Callable[[], Sequence[callbacks.CallbackClaimRequest]]
    ) -> Sequence[Sequence[Callback]]:
        """Claim due callbacks for each request of a plan, which is made only when the transaction begins."""
        requests: list[callbacks.CallbackClaimRequest] = []

        def make() -> Sequence[callbacks.CallbackClaimRequest]:
            requests.extend(map(self._callback_watermarks.apply, plan()))
            return requests

        batches = await self._callback_lane.run(callbacks.claim_callbacks, Deferred(make))
        self._callback_watermarks.advance(requests, batches)
        return [batch.callbacks for batch in batches]

    async def finish_callbacks(self, ended: Callable[[], Sequence[CallbackResult]]) -> Sequence[bool]:
        """Record results of callbacks, which are asked for only when the transaction begins.

        Returns False for each claim that was lost, for which nothing was changed.
        """
        return await self._callback_lane.run(callback_results.finish_callbacks, Deferred(ended))

    async def coordinate(self, work: Work[Item, Result], item: Item) -> Result:
        """Do work by which replicas agree: of ``named_leases`` or ``plugin_state``."""
        return await self._report_lane.run(work, item)

    async def sweep(self, refused: Collection[str] = ()) -> SweepResult:
        """Change some of the rows whose time has come; ``refused``: the instances whose reports are refused now."""
        result, ended = await self._send_lane.run(maintenance.sweep, refused)
        deaths.log_held(result.held_after_deaths)
        self._note(ended, queued=result.queued, callbacks_due=bool(result.failed or result.callbacks))
        return result

    async def queue_stuck_statuses(self) -> int:
        """Queue the stuck ones among the next statuses, from the first again after the last; return how many."""
        step = await self._callback_lane.run(stuck_statuses.queue_stuck_statuses, self._last_searched_seq)
        self._last_searched_seq = step.last_seq
        if step.queued:
            self.callbacks_due.set()
        return step.queued

    async def prune(self) -> int:
        """Delete some of the messages that ended before the retention; return how many."""
        return await self._send_lane.run(maintenance.prune, None)

    async def purge_wal(self) -> None:
        """Remove erased contents from SQLite's write-ahead log, when the store has been idle for a while."""
        await self._database.purge_wal()

    async def erase_copies(self) -> None:
        """Remove copies of erased rows from SQLite's files at once; after a user was forgotten."""
        await self._database.erase_copies()

    async def expire_all_claims(self) -> int:
        """End every claim; return how many. For the start of the only process, before its first claim."""
        expired = await self._send_lane.run(maintenance.expire_all_claims, None)
        deaths.log_held(expired.held_ids)
        return expired.total

    async def retry(self, order: retries.RetryOrder) -> list[retries.MessageRetry]:
        """Queue failed and held messages again."""
        results = await self._send_lane.run(retries.retry, order)
        if any(one.queued for one in results):
            self.queue_signals.request_rescan()
        return results

    async def tell(self, order: retries.RetryOrder) -> list[retries.CallbackRetry]:
        """Queue now the callbacks of these messages that wait for their next attempt or are dead."""
        results = await self._callback_lane.run(retries.tell, order)
        self.callbacks_due.set()
        return results

    async def change(self, work: Work[Item, Result], order: Item) -> Result:
        """Do work of which no worker has to be signalled."""
        return await self._send_lane.run(work, order)

    async def cancel(self, work: Work[Item, tuple[Result, Sequence[EndedMessage]]], order: Item) -> Result:
        """Cancel messages by ``cancel`` or ``cancel_by_ids`` of ``cancellations``."""
        result, ended = await self._report_lane.run(work, order)
        self.end_counts.count(ended)
        self.callbacks_due.set()
        return result

    async def read_pauses(self) -> None:
        """Take over the pauses that are in the store now."""
        if self.pauses.replace(await self._send_lane.run(pauses.read, None)):
            self.queue_signals.request_rescan()

    async def depth(self) -> queries.QueueDepth:
        """Return how many messages and callbacks wait."""
        return await self._send_lane.run(queries.depths, None)

    def _note(self, ended: Sequence[EndedMessage], *, queued: bool, callbacks_due: bool) -> None:
        """Wake the workers after a change, and count the messages that it ended."""
        if queued:
            self.queue_signals.request_rescan()
        if callbacks_due:
            self.callbacks_due.set()
        self.end_counts.count(ended)

    async def close(self) -> None:
        """Finish the work in progress, close the database and release its lock."""
        try:
            for lane in self._lanes:
                await lane.close()
            await self._database.close()
        finally:
            if self._lock is not None:
                self._lock.release()
