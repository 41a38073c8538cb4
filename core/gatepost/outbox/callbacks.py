"""Claims of callbacks, and their results: in order for each message, one at a time."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import compress
from typing import NamedTuple

from sqlalchemy import ColumnElement, Executable, bindparam, func, select, update

from gatepost.model import Channel, Status
from gatepost.outbox.claim_statement import claim_statement
from gatepost.outbox.fence import check_fence
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import Callback, CallbackResult
from gatepost.outbox.schema import messages, statuses
from gatepost.outbox.states import OPEN_CALLBACK_STATES, CallbackState
from gatepost.outbox.transaction import Record, Transaction, dialect_pair, id_chunks
from gatepost.outbox.watermark import FULL_SCAN, ClaimProgress, claim_progress


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


def claim_callbacks(tx: Transaction, requests: Sequence[CallbackClaimRequest]) -> list[CallbackBatch]:
    """Claim due callbacks for each request, the longest due first."""
    return [_claim(tx, request) for request in requests]


_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "of_client": statuses.c.client == bindparam("of_client"),
    "excluded_clients": ~one_of(statuses.c.client, bindparam("excluded_clients")),
    "excluded_targets": ~one_of(statuses.c.target, bindparam("excluded_targets")),
    "to_target": statuses.c.target == bindparam("to_target"),
}


@cache
def _claim_statement(conditions: tuple[str, ...], *, postgresql: bool) -> Executable:
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
    )
    new_state = {"callback_state": CallbackState.CALLING.value}
    return claim_statement(statuses.c.seq, due, new_state, columns, postgresql=postgresql)


def _claim(tx: Transaction, request: CallbackClaimRequest) -> CallbackBatch:
    filters = {
        "of_client": request.client,
        "excluded_clients": sorted(request.excluded_clients),
        "excluded_targets": sorted(request.excluded_targets),
        "to_target": request.target,
    }
    parameters: dict[str, object] = {name: value for name, value in filters.items() if value}
    statement = _claim_statement(tuple(parameters), postgresql=tx.on_postgresql)
    parameters |= {
        "min_due_at": request.min_due_at,
        "now": tx.now,
        "max_rows": request.limit,
        "lease_end": tx.after(request.lease),
        "claimed_by": tx.holder,
    }
    rows = tx.connection.execute(statement, parameters).all()
    by_message_id = {
        row.id: row for row in tx.select_by_ids(_message_columns, {row.message_id for row in rows})
    }
    callbacks = [
        Callback(
            seq=row.seq,
            attempt=row.attempt,
            message_id=row.message_id,
            client=row.client,
            channel=Channel(by_message_id[row.message_id].channel),
            status=Status(row.status),
            callback_url=by_message_id[row.message_id].callback_url,
            target=row.target,
        )
        for row in rows
        if row.message_id in by_message_id
    ]
    return CallbackBatch(callbacks, claim_progress(tx, rows, request.limit))


_message_columns = dialect_pair(
    lambda _: select(messages.c.id, messages.c.channel, messages.c.callback_url).where(
        one_of(messages.c.id, IDS)
    )
)
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


def finish_callbacks(tx: Transaction, results: Sequence[CallbackResult]) -> list[bool]:
    """Record the results of callbacks; return False where the claim was lost and nothing was changed.

    An acknowledged and a dead callback both let the next status of the same message be called back.
    """
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
