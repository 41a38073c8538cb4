"""The results of callbacks: each status of a message is called back after the one before has ended."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from sqlalchemy import BigInteger, TextClause, bindparam, func, select, text, update

from gatepost.outbox.callbacks import has_state
from gatepost.outbox.json_rows import encoded_rows, json_rows
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import CallbackResult
from gatepost.outbox.schema import messages, statuses
from gatepost.outbox.states import OPEN_CALLBACK_STATES, CallbackState
from gatepost.outbox.transaction import DialectPair, Transaction, dialect_pair, id_chunks

_RESULT_COLUMNS = {
    "seq": "BIGINT",
    "claimed_attempt": "INTEGER",
    "callback_state": "TEXT",
    "due_at": "BIGINT",
    "attempt": "INTEGER",
    "http_status": "INTEGER",
    "problem": "TEXT",
}
_lock_rows = dialect_pair(
    lambda add_lock: add_lock(select(messages.c.id).where(one_of(messages.c.id, IDS)).order_by(messages.c.id))
)
# Not IN, here and below: a plan from when the tables were empty would join them, and read both in full later.
_message_ids = select(statuses.c.message_id).where(one_of(statuses.c.seq, IDS)).scalar_subquery()
_lock_messages_of = dialect_pair(
    lambda add_lock: add_lock(
        select(messages.c.id)
        .where(messages.c.id == func.any(func.array(_message_ids)))
        .order_by(messages.c.id)
    )
)


def _record_results(condition: str, *, postgresql: bool) -> TextClause:
    """Return the statement that records results, with the fence; it returns those that it has recorded.

    ``condition`` says where else the statuses are found. One statement for all results: the statement for each of them,
    and a query for the fence before it, took twice as long.
    """
    return text(
        "UPDATE statuses SET callback_state = new.callback_state, due_at = new.due_at, attempt = new.attempt, "  # noqa: S608  constants
        "called_at = :now, http_status = new.http_status, problem = new.problem "
        f"FROM {json_rows('results', _RESULT_COLUMNS, postgresql=postgresql)} AS new "
        "WHERE statuses.seq = new.seq AND statuses.attempt = new.claimed_attempt AND statuses.holder = :claimed_by "
        f"AND statuses.callback_state = '{CallbackState.CALLING.value}'{condition} "
        "RETURNING statuses.seq, statuses.message_id"
    ).bindparams(bindparam("now", type_=BigInteger))


_record = DialectPair(
    _record_results("", postgresql=False),
    # By their key too: a plan for an empty table would read it in full later.
    _record_results(" AND statuses.seq = ANY(CAST(:ids AS BIGINT[]))", postgresql=True),
)


def finish_callbacks(tx: Transaction, calls: Sequence[Sequence[CallbackResult]]) -> list[list[bool]]:
    """Record the results of callbacks; return False where the claim was lost and nothing was changed.

    An acknowledged and a dead callback both let the next status of the same message be called back.
    """
    recorded = iter(_finish(tx, [result for results in calls for result in results]))
    return [list(islice(recorded, len(results))) for results in calls]


def _finish(tx: Transaction, results: Sequence[CallbackResult]) -> list[bool]:
    recorded = [False] * len(results)
    for places in _places_of_claims(results):
        if tx.on_postgresql:
            tx.execute(_lock_messages_of, ids=list(places))
        values = encoded_rows(_result_values(tx, results[place]) for place in places.values())
        rows = tx.fetch(_record, results=values, ids=list(places), now=tx.now, claimed_by=tx.holder)
        for seq, _ in rows:
            recorded[places[seq]] = True
        queue_next_statuses(tx, {message_id for seq, message_id in rows if _is_end(results[places[seq]])})
    return recorded


def _places_of_claims(results: Sequence[CallbackResult]) -> Iterator[dict[int, int]]:
    """Yield the places of these results by ``seq``: each status once at a time, in the order of the results.

    So of two results of one claim the first counts.
    """
    places: Sequence[int] = range(len(results))
    while places:
        first: dict[int, int] = {}
        for place in places:
            first.setdefault(results[place].seq, place)
        yield first
        places = [place for place in places if first[results[place].seq] != place]


def _is_end(result: CallbackResult) -> bool:
    return result.acknowledged or result.retry_in is None


def lock_messages(tx: Transaction, message_ids: Iterable[str]) -> None:
    """Stop other replicas from recording a status of these messages while their next status is chosen."""
    if tx.on_postgresql:
        for chunk in id_chunks(sorted(message_ids)):
            tx.execute(_lock_rows, ids=chunk)


def _result_values(tx: Transaction, result: CallbackResult) -> tuple[object, ...]:
    """Return the values of the _RESULT_COLUMNS."""
    if result.acknowledged:
        callback_state, due_at = CallbackState.ACKNOWLEDGED, None
    elif result.retry_in is None:
        callback_state, due_at = CallbackState.DEAD, None
    else:
        callback_state, due_at = CallbackState.QUEUED, tx.after(result.retry_in)
    attempt = result.attempt if result.counts else result.attempt - 1
    return result.seq, result.attempt, callback_state, due_at, attempt, result.http_status, result.problem


def queue_next_statuses(tx: Transaction, message_ids: Iterable[str]) -> int:
    """Queue the next waiting status of each message, unless an earlier one is queued or being called.

    Returns how many statuses were queued.
    """
    return sum(tx.execute(_queue_next, ids=chunk, now=tx.now) for chunk in id_chunks(sorted(message_ids)))


_first_open = (
    select(func.min(statuses.c.seq))
    .where(one_of(statuses.c.message_id, IDS), has_state(*OPEN_CALLBACK_STATES))
    .group_by(statuses.c.message_id)
)
_queue_waiting = (
    update(statuses)
    .where(has_state(CallbackState.WAITING))
    .values(callback_state=CallbackState.QUEUED.value, due_at=bindparam("now"))
)
_queue_next = DialectPair(
    _queue_waiting.where(statuses.c.seq.in_(_first_open)),
    _queue_waiting.where(statuses.c.seq == func.any(func.array(_first_open.scalar_subquery()))),
)
