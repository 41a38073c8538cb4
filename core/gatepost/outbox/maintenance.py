"""Changes that time brings about: leases, waits and lifetimes that end, and old rows that are deleted."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.engine import Row

from gatepost.model import Channel, Status
from gatepost.outbox import counters, deaths, named_leases, report_outages, suppressions
from gatepost.outbox.fallback import LATE_REASON
from gatepost.outbox.fallback_store import is_last_wait
from gatepost.outbox.one_of import one_of
from gatepost.outbox.queues import in_any_queue
from gatepost.outbox.records import EndedMessage, NewStatus, SweepResult
from gatepost.outbox.reports import STATUS_COLUMNS, append_statuses
from gatepost.outbox.schema import attempts, contents, messages, statuses
from gatepost.outbox.states import OPEN_CALLBACK_STATES, CallbackState, State
from gatepost.outbox.transaction import Transaction

MAX_LOST_ANSWERS = 2
"""Lost answers after which a message is held, whatever the policy is. Without this limit a relay that takes a mail and
answers too late would get the same mail again every two minutes of its lifetime. A death of the process does not count
as a lost answer."""

SWEEP_BATCH = 200
"""The largest number of rows of each kind that one sweep changes, so that no other work waits long for it."""

MAX_PAUSE = 3600.0
"""Seconds; a provider may ask for an hour, our own pauses are shorter."""

MAX_CALLBACK_PAUSE = 12.5 * 3600.0
"""Seconds; the longest pause of a callback is ten hours plus a fifth, and this is a little more."""

MAX_LEASE = 86_400.0
"""Seconds; a lease is seconds or minutes long, and is renewed long before this."""

MAX_LIFETIME = 31 * 86_400.0
"""Seconds; a message that expires later than this, and was created in the future, was stored while the clock was
ahead."""


_MAY_EXPIRE = (State.QUEUED, State.SUSPECT, State.UNCERTAIN, State.HELD, State.AWAITING)
"""States in which a message fails when its lifetime ends; one that is being sent gets its answer first."""


def sweep(
    tx: Transaction, items: Sequence[Collection[str]]
) -> list[tuple[SweepResult, Sequence[EndedMessage]]]:
    """Change every row whose time has come, at most SWEEP_BATCH rows of each kind.

    Each item holds the instances whose reports are refused at present. The first result carries the ended messages,
    so that each end is counted once.
    """
    silent = report_outages.extend_waits(tx, {name for names in items for name in names})
    ended, expired = _fail_expired_messages(tx), _expire_leases(tx)
    result = SweepResult(
        failed=len(ended),
        expired_claims=expired.total,
        held_after_deaths=expired.held_ids,
        requeued=0 if tx.policy.hold_uncertain else _requeue_uncertain(tx),
        held=_hold_uncertain(tx),
        passed=_pass_undelivered(tx, silent),
        clock_corrections=_correct_times(tx),
        callbacks=_requeue_callbacks(tx),
    )
    return [(result, () if number else ended) for number in range(len(items))]


def _select_rows(tx: Transaction, *conditions: ColumnElement[bool]) -> Sequence[Row[Any]]:
    query: Select[Any] = (
        select(*STATUS_COLUMNS, messages.c.instance)
        .where(messages.c.due_at.is_not(None), *conditions)
        .limit(SWEEP_BATCH)
    )
    return tx.connection.execute(tx.with_lock(query, skip_locked=True)).all()


def _update_rows(tx: Transaction, rows: Sequence[Row[Any]], **values: Any) -> int:
    if rows:
        ids = [row.id for row in rows]
        tx.connection.execute(update(messages).where(one_of(messages.c.id, ids)).values(**values))
    return len(rows)


def _fail_expired_messages(tx: Transaction) -> Sequence[EndedMessage]:
    """Fail messages whose lifetime ended. The content stays, so that the operator can queue them again."""
    states = [state.value for state in _MAY_EXPIRE]
    rows = _select_rows(tx, messages.c.expires_at <= tx.now, one_of(messages.c.state, states))
    _update_rows(tx, rows, state=State.FAILED.value, due_at=None, ended_at=tx.now)
    if rows:
        failed = [NewStatus(row.id, Status.FAILED, instance=row.instance) for row in rows]
        append_statuses(tx, {row.id: row for row in rows}, failed, by_provider=False)
    for row in rows:
        counters.add(tx, counters.queued(row.client), -1)
    return [EndedMessage(row.id, row.client, Channel(row.channel), State.FAILED) for row in rows]


def _expire_leases(tx: Transaction) -> deaths.ExpiredClaims:
    """End the claims whose lease was not renewed: the process that was sending is gone, or late."""
    rows = _select_rows(
        tx, in_any_queue(tx), messages.c.state == State.SENDING.value, messages.c.due_at <= tx.now
    )
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


def _uncertain_rows(tx: Transaction, where: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """Return uncertain messages whose wait for a report has ended."""
    is_due = messages.c.due_at <= tx.now
    return _select_rows(tx, in_any_queue(tx), messages.c.state == State.UNCERTAIN.value, is_due, where)


def _requeue_uncertain(tx: Transaction) -> int:
    """Queue again messages without a report; the whole route is tried."""
    rows = _uncertain_rows(tx, messages.c.lost_answers < MAX_LOST_ANSWERS)
    return _update_rows(tx, rows, state=deaths.waiting_state, due_at=tx.now)


def _hold_uncertain(tx: Transaction) -> int:
    """Hold messages without a report until their lifetime ends: the operator decides."""
    where = true() if tx.policy.hold_uncertain else messages.c.lost_answers >= MAX_LOST_ANSWERS
    rows = _uncertain_rows(tx, where)
    return _update_rows(tx, rows, state=State.HELD.value, due_at=messages.c.expires_at)


def _pass_undelivered(tx: Transaction, silent: Collection[str]) -> int:
    """Queue messages for the next instance of their route where the one that has them did not deliver in time.

    Where no instance is left, a late delivery is waited for until the lifetime ends. ``silent`` are the instances
    that can't report at present: their messages stay.
    """
    is_due = messages.c.due_at <= tx.now
    is_awaiting = messages.c.state == State.AWAITING.value
    can_report = ~one_of(messages.c.instance, sorted(silent))
    rows = _select_rows(tx, in_any_queue(tx), is_awaiting, is_due, can_report, ~is_last_wait)
    passed = func.ltrim(messages.c.passed + literal(" ") + messages.c.instance)
    _update_rows(tx, rows, state=deaths.waiting_state, due_at=tx.now, passed=passed, reason=LATE_REASON)
    last = _select_rows(tx, in_any_queue(tx), is_awaiting, is_due, is_last_wait)
    _update_rows(tx, last, due_at=messages.c.expires_at)
    return len(rows)


def _correct_times(tx: Transaction) -> int:
    """Correct times further in the future than any wait: the clock was ahead when they were set, and went back."""
    wait_end = tx.after(tx.policy.uncertain_wait)
    due_at = messages.c.due_at
    # A message that was never tried was due at once, so every future due time is wrong. The first comparison stands
    # by itself before the OR: otherwise every waiting row would be read.
    too_late = (due_at > tx.now) & or_(due_at > tx.after(MAX_PAUSE), messages.c.attempt == 0)
    longest_wait = tx.after(max((one.wait for one in tx.policy.fallbacks.values()), default=MAX_LEASE))
    delivery_too_late = (due_at > longest_wait) & ~is_last_wait
    count = 0
    for state, where, corrected in (
        (State.QUEUED, too_late, tx.now),
        (State.SUSPECT, too_late, tx.now),
        (State.UNCERTAIN, due_at > wait_end, wait_end),
        (State.AWAITING, delivery_too_late, longest_wait),
        (State.SENDING, due_at > tx.after(MAX_LEASE), tx.after(MAX_LEASE)),
    ):
        rows = _select_rows(tx, in_any_queue(tx), messages.c.state == state.value, where)
        count += _update_rows(tx, rows, due_at=corrected)
    return count + _correct_lifetimes(tx)


def _correct_lifetimes(tx: Transaction) -> int:
    """Start anew the lifetimes of messages that were stored before the clock went far back."""
    rows = _select_rows(
        tx,
        messages.c.expires_at > tx.after(MAX_LIFETIME),
        messages.c.created_at > tx.after(MAX_PAUSE),
    )
    expires_at = messages.c.expires_at - messages.c.created_at + tx.now
    due_at = case((messages.c.due_at == messages.c.expires_at, expires_at), else_=messages.c.due_at)
    return _update_rows(tx, rows, created_at=tx.now, expires_at=expires_at, due_at=due_at)


def _requeue_callbacks(tx: Transaction) -> int:
    """Queue again callbacks whose process was lost, and those that are due later than any pause allows."""
    due_at, callback_state = statuses.c.due_at, statuses.c.callback_state
    expired = (callback_state == CallbackState.CALLING.value) & (due_at <= tx.now)
    # As with messages: the first call is due at once.
    is_late = or_(due_at > tx.after(MAX_CALLBACK_PAUSE), statuses.c.attempt == 0)
    too_late = (callback_state == CallbackState.QUEUED.value) & (due_at > tx.now) & is_late
    lease_too_long = (callback_state == CallbackState.CALLING.value) & (due_at > tx.after(MAX_LEASE))
    queued = sum(
        _update_callbacks(tx, where, callback_state=CallbackState.QUEUED.value, due_at=tx.now)
        for where in (expired, too_late)
    )
    return queued + _update_callbacks(tx, lease_too_long, due_at=tx.after(MAX_LEASE))


def _update_callbacks(tx: Transaction, where: ColumnElement[bool], **values: Any) -> int:
    seqs = select(statuses.c.seq).where(statuses.c.due_at.is_not(None), where).limit(SWEEP_BATCH)
    statement = update(statuses).where(statuses.c.seq.in_(tx.with_lock(seqs, skip_locked=True)))
    return tx.connection.execute(statement.values(**values)).rowcount


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
