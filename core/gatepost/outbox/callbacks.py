"""Claims of callbacks, and their results: in order for each message, one at a time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import compress, islice
from typing import NamedTuple

from sqlalchemy import Column, ColumnElement, Label, Text, bindparam, cast, func, select, update

from gatepost.model import Channel, Status
from gatepost.outbox.claim_statement import claim_statement
from gatepost.outbox.fence import check_fence
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import Callback, CallbackResult
from gatepost.outbox.schema import messages, statuses
from gatepost.outbox.states import OPEN_CALLBACK_STATES, CallbackState
from gatepost.outbox.transaction import DialectPair, Record, Transaction, dialect_pair, id_chunks
from gatepost.outbox.watermark import FULL_SCAN, ClaimProgress, Watermark, claim_progress


class CallbackClaimRequest(NamedTuple):
    """A request for up to ``limit`` callbacks."""

    limit: int
    lease: float
    """Seconds."""
    client: str = ""
    """Only callbacks of this client; empty: of any client."""
    excluded_targets: frozenset[str] = frozenset()
    """No callbacks to these targets (``host:port``)."""
    target: str = ""
    """Only callbacks to this target; empty: to any target."""
    excluded_clients: frozenset[str] = frozenset()
    """No callbacks of these clients."""
    min_due_at: int = FULL_SCAN
    """Callbacks that were due before then are left out."""


class CallbackBatch(NamedTuple):
    """The callbacks of one claim, and how far it came."""

    callbacks: list[Callback]
    progress: ClaimProgress


class CallbackWatermarks:
    """The watermark of each client, for claims on PostgreSQL."""

    def __init__(self, *, active: bool) -> None:
        """Without ``active`` every claim reads the whole index."""
        self._active = active
        self._watermarks: defaultdict[str, Watermark] = defaultdict(Watermark)

    def apply(self, request: CallbackClaimRequest) -> CallbackClaimRequest:
        """Return the request with the due time at which it starts."""
        if not self._concern(request):
            return request
        min_due_at = self._watermarks[request.client].min_due_at(request.excluded_targets)
        return request._replace(min_due_at=min_due_at)

    def advance(self, requests: Sequence[CallbackClaimRequest], batches: Sequence[CallbackBatch]) -> None:
        """Note the progress of committed claims."""
        for request, batch in zip(requests, batches, strict=True):
            if self._concern(request):
                self._watermarks[request.client].advance(request.min_due_at, batch.progress)

    def _concern(self, request: CallbackClaimRequest) -> bool:
        # Callbacks to a single target, or of clients that are seldom claimed, may be older than all others.
        return self._active and not request.target and not request.excluded_clients


def claim_callbacks(
    tx: Transaction, calls: Sequence[Sequence[CallbackClaimRequest]]
) -> list[list[CallbackBatch]]:
    """Claim due callbacks for each request of each call, the longest due first."""
    return [[_claim(tx, request) for request in requests] for requests in calls]


def _of_message(column: Column[str]) -> Label[str]:
    # A subquery, because a statement of its own would be a second round trip to the server. Without the cast SQLite
    # reads the whole table.
    value = select(column).where(messages.c.id == cast(statuses.c.message_id, Text))
    return value.scalar_subquery().label(column.name)


_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "of_client": statuses.c.client == bindparam("of_client"),
    "excluded_clients": ~one_of(statuses.c.client, bindparam("excluded_clients")),
    "excluded_targets": ~one_of(statuses.c.target, bindparam("excluded_targets")),
    "to_target": statuses.c.target == bindparam("to_target"),
}


@cache
def _claim_due(conditions: tuple[str, ...]) -> DialectPair:
    """Return the claim with these conditions; cached, because building it takes longer than running it."""
    due = (
        select(statuses.c.seq, statuses.c.due_at)
        .where(
            statuses.c.callback_state == CallbackState.QUEUED.value,
            statuses.c.due_at >= bindparam("min_due_at"),
            statuses.c.due_at <= bindparam("now"),
            *(_CONDITIONS[name] for name in conditions),
        )
        .order_by(statuses.c.due_at)
        .limit(bindparam("max_rows"))
    )
    columns = (
        statuses.c.seq,
        statuses.c.attempt,
        statuses.c.message_id,
        statuses.c.status,
        statuses.c.client,
        statuses.c.target,
        _of_message(messages.c.channel),
        _of_message(messages.c.callback_url),
    )
    new_state = {"callback_state": CallbackState.CALLING.value}
    build = partial(claim_statement, statuses.c.seq, due, new_state, columns)
    return DialectPair(build(postgresql=False), build(postgresql=True))


def _claim(tx: Transaction, request: CallbackClaimRequest) -> CallbackBatch:
    filters = {
        "of_client": request.client,
        "excluded_clients": sorted(request.excluded_clients),
        "excluded_targets": sorted(request.excluded_targets),
        "to_target": request.target,
    }
    parameters: dict[str, object] = {name: value for name, value in filters.items() if value}
    rows = tx.fetch(
        _claim_due(tuple(parameters)),
        **parameters,
        min_due_at=request.min_due_at,
        now=tx.now,
        max_rows=request.limit,
        lease_end=tx.after(request.lease),
        claimed_by=tx.holder,
    )
    callbacks = [
        Callback(
            seq=row.seq,
            attempt=row.attempt,
            message_id=row.message_id,
            client=row.client,
            channel=Channel(row.channel),
            status=Status(row.status),
            callback_url=row.callback_url,
            target=row.target,
        )
        for row in rows
        # Another process may be deleting the message.
        if row.channel is not None
    ]
    return CallbackBatch(callbacks, claim_progress(tx, rows, request.limit))


_claimed_rows = dialect_pair(
    lambda _: select(
        statuses.c.seq,
        statuses.c.message_id,
        statuses.c.attempt,
        statuses.c.holder,
        statuses.c.callback_state.label("state"),
    ).where(one_of(statuses.c.seq, IDS))
)
_lock_rows = dialect_pair(
    lambda add_lock: add_lock(select(messages.c.id).where(one_of(messages.c.id, IDS)).order_by(messages.c.id))
)

_update_status = (
    update(statuses)
    .where(
        # The fence again, in the statement itself: another replica may have claimed the row since it was read.
        statuses.c.seq == bindparam("status_seq"),
        statuses.c.attempt == bindparam("claimed_attempt"),
        statuses.c.holder == bindparam("claimed_by"),
        statuses.c.callback_state == CallbackState.CALLING.value,
    )
    .values(
        callback_state=bindparam("callback_state"),
        due_at=bindparam("due_at"),
        attempt=bindparam("attempt"),
        called_at=bindparam("called_at"),
        http_status=bindparam("http_status"),
        problem=bindparam("problem"),
    )
)


def finish_callbacks(tx: Transaction, calls: Sequence[Sequence[CallbackResult]]) -> list[list[bool]]:
    """Record the results of callbacks; return False where the claim was lost and nothing was changed.

    An acknowledged and a dead callback both let the next status of the same message be called back.
    """
    recorded = iter(_finish(tx, [result for results in calls for result in results]))
    return [list(islice(recorded, len(results))) for results in calls]


def _finish(tx: Transaction, results: Sequence[CallbackResult]) -> list[bool]:
    seqs = [result.seq for result in results]
    rows: dict[int, Record] = {row.seq: row for row in tx.select_by_ids(_claimed_rows, sorted(set(seqs)))}
    lock_messages(tx, {row.message_id for row in rows.values()})
    valid = check_fence(tx, seqs, results, rows, CallbackState.CALLING, allow_late=[False] * len(results))
    valid_results = list(compress(results, valid))
    if valid_results:
        tx.execute_many(_update_status, [_status_values(tx, result) for result in valid_results])
        ended = [result for result in valid_results if result.acknowledged or result.retry_in is None]
        queue_next_statuses(tx, {rows[result.seq].message_id for result in ended})
    return valid


def lock_messages(tx: Transaction, message_ids: Iterable[str]) -> None:
    """Stop other replicas from recording a status of these messages while their next status is chosen."""
    if tx.on_postgresql:
        for chunk in id_chunks(sorted(message_ids)):
            tx.execute(_lock_rows, ids=chunk)


def _status_values(tx: Transaction, result: CallbackResult) -> dict[str, object]:
    if result.acknowledged:
        callback_state, due_at = CallbackState.ACKNOWLEDGED, None
    elif result.retry_in is None:
        callback_state, due_at = CallbackState.DEAD, None
    else:
        callback_state, due_at = CallbackState.QUEUED, tx.after(result.retry_in)
    return {
        "status_seq": result.seq,
        "claimed_attempt": result.attempt,
        "claimed_by": tx.holder,
        "callback_state": callback_state.value,
        "due_at": due_at,
        "attempt": result.attempt if result.counts else result.attempt - 1,
        "called_at": tx.now,
        "http_status": result.http_status,
        "problem": result.problem,
    }


def queue_next_statuses(tx: Transaction, message_ids: Iterable[str]) -> int:
    """Queue the next waiting status of each message, unless an earlier one is queued or being called.

    Returns how many statuses were queued.
    """
    return sum(
        tx.execute(_queue_next, ids=chunk, now=tx.now).rowcount for chunk in id_chunks(sorted(message_ids))
    )


_first_open = (
    select(func.min(statuses.c.seq))
    .where(
        one_of(statuses.c.message_id, IDS),
        one_of(statuses.c.callback_state, [state.value for state in OPEN_CALLBACK_STATES]),
    )
    .group_by(statuses.c.message_id)
)
_queue_next = dialect_pair(
    lambda _: (
        update(statuses)
        .where(statuses.c.seq.in_(_first_open), statuses.c.callback_state == CallbackState.WAITING.value)
        .values(callback_state=CallbackState.QUEUED.value, due_at=bindparam("now"))
    )
)
