"""Changes that time brings about: leases, waits and lifetimes that end, and old rows that are deleted."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import case, delete, exists, func, literal, select, update

from gatepost.model import Channel, Status
from gatepost.outbox import counters, deaths, due_rows, named_leases, report_outages, suppressions
from gatepost.outbox.due_rows import SWEEP_BATCH, DueRows, Moments
from gatepost.outbox.fallback import LATE_REASON
from gatepost.outbox.one_of import one_of
from gatepost.outbox.records import EndedMessage, NewStatus, SweepResult
from gatepost.outbox.reports import append_statuses
from gatepost.outbox.schema import attempts, contents, messages, statuses
from gatepost.outbox.states import OPEN_CALLBACK_STATES, CallbackState, State
from gatepost.outbox.transaction import Record, Transaction


def sweep(
    tx: Transaction, items: Sequence[Collection[str]]
) -> list[tuple[SweepResult, Sequence[EndedMessage]]]:
    """Change every row whose time has come, at most SWEEP_BATCH rows of each kind.

    Each item holds the instances whose reports are refused at present. The first result carries the ended messages,
    so that each end is counted once.
    """
    silent = report_outages.extend_waits(tx, {name for names in items for name in names})
    moments = due_rows.moments(tx, silent)
    if not due_rows.any_due(tx, moments):
        return [(SweepResult(), ()) for _ in items]
    ended, expired = _fail_expired_messages(tx, moments), _expire_leases(tx, moments)
    result = SweepResult(
        failed=len(ended),
        expired_claims=expired.total,
        held_after_deaths=expired.held_ids,
        requeued=_requeue_uncertain(tx, moments),
        held=_hold_uncertain(tx, moments),
        passed=_pass_undelivered(tx, moments),
        clock_corrections=_correct_times(tx, moments),
        callbacks=_requeue_callbacks(tx, moments),
    )
    return [(result, () if number else ended) for number in range(len(items))]


def _update_rows(tx: Transaction, rows: Sequence[Record], **values: Any) -> int:
    if rows:
        ids = [row.id for row in rows]
        tx.connection.execute(update(messages).where(one_of(messages.c.id, ids)).values(**values))
    return len(rows)


def _fail_expired_messages(tx: Transaction, moments: Moments) -> Sequence[EndedMessage]:
    """Fail messages whose lifetime ended. The content stays, so that the operator can queue them again."""
    rows = tx.fetch(due_rows.EXPIRED.select, **moments)
    _update_rows(tx, rows, state=State.FAILED.value, due_at=None, ended_at=tx.now)
    if rows:
        failed = [NewStatus(row.id, Status.FAILED, instance=row.instance) for row in rows]
        append_statuses(tx, {row.id: row for row in rows}, failed, by_provider=False)
    for row in rows:
        counters.add(tx, counters.queued(row.client), -1)
    return [EndedMessage(row.id, row.client, Channel(row.channel), State.FAILED) for row in rows]


def _expire_leases(tx: Transaction, moments: Moments) -> deaths.ExpiredClaims:
    """End the claims whose lease was not renewed: the process that was sending is gone, or late."""
    rows = tx.fetch(due_rows.LEASES.select, **moments)
    if not rows:
        return deaths.ExpiredClaims(0, [])
    return deaths.expire_claims(tx, one_of(messages.c.id, [row.id for row in rows]))


def expire_all_claims(tx: Transaction, items: Sequence[None]) -> list[deaths.ExpiredClaims]:
    """End every claim. For the start of the only process: every claim is of a process that is gone."""
    is_claimed = (messages.c.state == State.SENDING.value) & messages.c.due_at.is_not(None)
    expired = deaths.expire_claims(tx, is_claimed)
    tx.connection.execute(
        update(statuses)
        .where(statuses.c.callback_state == CallbackState.CALLING.value, statuses.c.due_at.is_not(None))
        .values(callback_state=CallbackState.QUEUED.value, due_at=tx.now)
    )
    return [expired] * len(items)


def _requeue_uncertain(tx: Transaction, moments: Moments) -> int:
    """Queue again messages without a report; the whole route is tried."""
    rows = tx.fetch(due_rows.UNREPORTED.select, **moments)
    return _update_rows(tx, rows, state=deaths.waiting_state, due_at=tx.now)


def _hold_uncertain(tx: Transaction, moments: Moments) -> int:
    """Hold messages without a report until their lifetime ends: the operator decides."""
    rows = tx.fetch(due_rows.HELD.select, **moments)
    return _update_rows(tx, rows, state=State.HELD.value, due_at=messages.c.expires_at)


def _pass_undelivered(tx: Transaction, moments: Moments) -> int:
    """Queue messages for the next instance of their route where the one that has them did not deliver in time.

    Where no instance is left, a late delivery is waited for until the lifetime ends.
    """
    rows = tx.fetch(due_rows.UNDELIVERED.select, **moments)
    passed = func.ltrim(messages.c.passed + literal(" ") + messages.c.instance)
    _update_rows(tx, rows, state=deaths.waiting_state, due_at=tx.now, passed=passed, reason=LATE_REASON)
    _update_rows(tx, tx.fetch(due_rows.LAST_WAITS.select, **moments), due_at=messages.c.expires_at)
    return len(rows)


def _correct_times(tx: Transaction, moments: Moments) -> int:
    """Correct times further in the future than any wait: the clock was ahead when they were set, and went back."""
    count = sum(
        _update_rows(tx, tx.fetch(rows.select, **moments), due_at=moments[corrected])
        for rows, corrected in due_rows.CORRECTED
    )
    # The lifetimes start anew.
    rows = tx.fetch(due_rows.LIFETIMES.select, **moments)
    expires_at = messages.c.expires_at - messages.c.created_at + tx.now
    due_at = case((messages.c.due_at == messages.c.expires_at, expires_at), else_=messages.c.due_at)
    return count + _update_rows(tx, rows, created_at=tx.now, expires_at=expires_at, due_at=due_at)


def _requeue_callbacks(tx: Transaction, moments: Moments) -> int:
    """Queue again callbacks whose process was lost, and those that are due later than any pause allows."""
    queued = sum(
        _update_callbacks(tx, rows, moments, callback_state=CallbackState.QUEUED.value, due_at=tx.now)
        for rows in (due_rows.LOST_CALLBACKS, due_rows.LATE_CALLBACKS)
    )
    lease_end = moments["lease_end"]
    return queued + _update_callbacks(tx, due_rows.LONG_LEASES_OF_CALLBACKS, moments, due_at=lease_end)


def _update_callbacks(tx: Transaction, rows: DueRows, moments: Moments, **values: Any) -> int:
    seqs = [row.seq for row in tx.fetch(rows.select, **moments)]
    if seqs:
        tx.connection.execute(update(statuses).where(one_of(statuses.c.seq, seqs)).values(**values))
    return len(seqs)


def prune(tx: Transaction, items: Sequence[None]) -> list[int]:
    """Delete messages that ended longer ago than the retention, and old suppressions, counters and leases.

    At most SWEEP_BATCH messages and suppressions; return how many rows of all.
    """
    has_open_callback = exists().where(
        statuses.c.message_id == messages.c.id,
        one_of(statuses.c.callback_state, [state.value for state in OPEN_CALLBACK_STATES]),
    )
    old = tx.with_lock(
        select(messages.c.id)
        .where(messages.c.ended_at <= tx.after(-tx.policy.retention), ~has_open_callback)
        .order_by(messages.c.ended_at)
        .limit(SWEEP_BATCH),
        skip_locked=True,
    )
    ids = list(tx.connection.execute(old).scalars())
    if ids:
        tx.connection.execute(delete(contents).where(one_of(contents.c.message_id, ids)))
        tx.connection.execute(delete(attempts).where(one_of(attempts.c.message_id, ids)))
        tx.connection.execute(delete(statuses).where(one_of(statuses.c.message_id, ids)))
        tx.connection.execute(delete(messages).where(one_of(messages.c.id, ids)))
    others = suppressions.prune(tx, SWEEP_BATCH) + counters.prune(tx) + named_leases.prune(tx)
    return [len(ids) + others] * len(items)
