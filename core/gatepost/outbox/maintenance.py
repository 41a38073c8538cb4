"""What moves without anybody holding it: leases, waits and lifetimes that end, and old rows that leave."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, case, delete, exists, or_, select, true, update
from sqlalchemy.engine import Row

from gatepost.model import Channel, Status
from gatepost.outbox import deaths
from gatepost.outbox.records import EndedMessage, SweepResult
from gatepost.outbox.reports import append
from gatepost.outbox.schema import contents, messages, statuses
from gatepost.outbox.states import OPEN, CallbackState, State
from gatepost.outbox.transaction import Transaction

UNANSWERED = 2
"""Lost answers after which a message is held whatever the policy is: a relay that takes mail and answers too late
would be given the same one again every two minutes of its life. A sender that crashed does not count."""

MOST = 200
"""Rows that one sweep moves of each kind, so that nobody waits long behind it."""

LONGEST_PAUSE = 3600.0
"""Seconds; a provider may ask for an hour, our own pauses are shorter."""

LONGEST_CALL_PAUSE = 12.5 * 3600.0
"""Seconds; ten hours and a fifth, and a little."""

LONGEST_LEASE = 86_400.0
"""Seconds; a lease is seconds or minutes, and whoever lives renews it before this is over."""

LONGEST_LIFETIME = 31 * 86_400.0
"""Seconds; beyond it a message that was made in the future is one that the clock made there."""


def sweep(tx: Transaction, asked: Sequence[None]) -> list[tuple[SweepResult, Sequence[EndedMessage]]]:
    """Move everything whose time has come, at most MOST rows of each kind; with what has ended by it.

    The ends are told to the first who asked alone, so that each is counted once.
    """
    ended, orphaned = _lifetimes_over(tx), _orphaned(tx)
    swept = SweepResult(
        failed=len(ended),
        orphaned=orphaned.lost,
        deadly=orphaned.held,
        resent=0 if tx.policy.hold else _resent(tx),
        held=_held(tx),
        pulled_in=_pulled_in(tx),
        calls=_calls(tx),
    )
    return [(swept, () if place else ended) for place in range(len(asked))]


def _rows(tx: Transaction, *conditions: ColumnElement[bool]) -> Sequence[Row[Any]]:
    query: Select[Any] = (
        select(messages.c.id, messages.c.client, messages.c.channel, messages.c.callback_url)
        .where(messages.c.due_at.is_not(None), *conditions)
        .limit(MOST)
    )
    return tx.connection.execute(tx.locking(query, skip_locked=True)).all()


def _move(tx: Transaction, rows: Sequence[Row[Any]], **values: Any) -> int:
    if rows:
        moved = update(messages).where(messages.c.id.in_([row.id for row in rows])).values(**values)
        tx.connection.execute(moved)
    return len(rows)


def _lifetimes_over(tx: Transaction) -> Sequence[EndedMessage]:
    """Failed: nobody took it in time. Its content stays for the operator to queue it again."""
    waiting = [one.value for one in (State.QUEUED, State.SUSPECT, State.UNCERTAIN, State.HELD)]
    rows = _rows(tx, messages.c.expires_at <= tx.now, messages.c.state.in_(waiting))
    _move(tx, rows, state=State.FAILED.value, due_at=None, ended_at=tx.now)
    if rows:
        append(
            tx,
            {row.id: row for row in rows},
            [(row.id, Status.FAILED, "") for row in rows],
            by_provider=False,
        )
    return [EndedMessage(row.id, row.client, Channel(row.channel), State.FAILED) for row in rows]


def _orphaned(tx: Transaction) -> deaths.Orphaned:
    """Nobody renewed the lease: the sender is gone."""
    rows = _rows(tx, deaths.any_channel, messages.c.state == State.SENDING.value, messages.c.due_at <= tx.now)
    if not rows:
        return deaths.Orphaned(0, [])
    return deaths.orphan(tx, messages.c.id.in_([row.id for row in rows]))


def orphan_all(tx: Transaction, asked: Sequence[None]) -> list[deaths.Orphaned]:
    """At the start, where nobody else can be holding anything: every claim's sender is gone."""
    orphaned = deaths.orphan(tx, (messages.c.state == State.SENDING.value) & messages.c.due_at.is_not(None))
    tx.connection.execute(
        update(statuses)
        .where(statuses.c.callback_state == CallbackState.CALLING.value, statuses.c.due_at.is_not(None))
        .values(callback_state=CallbackState.QUEUED.value, due_at=tx.now)
    )
    return [orphaned] * len(asked)


def _uncertain_over(tx: Transaction, which: ColumnElement[bool]) -> Sequence[Row[Any]]:
    waited = messages.c.due_at <= tx.now
    return _rows(tx, deaths.any_channel, messages.c.state == State.UNCERTAIN.value, waited, which)


def _resent(tx: Transaction) -> int:
    """No report came: it is due again, and the whole route is tried."""
    again = _uncertain_over(tx, messages.c.unanswered < UNANSWERED)
    return _move(tx, again, state=deaths.waiting_state, due_at=tx.now)


def _held(tx: Transaction) -> int:
    """No report came: the operator decides, until its lifetime ends."""
    every = true() if tx.policy.hold else messages.c.unanswered >= UNANSWERED
    return _move(tx, _uncertain_over(tx, every), state=State.HELD.value, due_at=messages.c.expires_at)


def _pulled_in(tx: Transaction) -> int:
    """No pause is this long: the clock had jumped when it was set, and has jumped back since."""
    wait = tx.after(tx.policy.uncertain_wait)
    due_at = messages.c.due_at
    # What was never tried is due at once, so that any time to come is too far. The time stands alone before
    # the rest, or else all that waits would be looked at.
    far = (due_at > tx.now) & or_(due_at > tx.after(LONGEST_PAUSE), messages.c.attempt == 0)
    count = 0
    for state, too_far, moment in (
        (State.QUEUED, far, tx.now),
        (State.SUSPECT, far, tx.now),
        (State.UNCERTAIN, due_at > wait, wait),
        (State.SENDING, due_at > tx.after(LONGEST_LEASE), tx.after(LONGEST_LEASE)),
    ):
        rows = _rows(tx, deaths.any_channel, messages.c.state == state.value, too_far)
        count += _move(tx, rows, due_at=moment)
    return count + _lifetimes_pulled_in(tx)


def _lifetimes_pulled_in(tx: Transaction) -> int:
    """As long as it was to live, counted from now: it was made before the clock jumped far back."""
    rows = _rows(
        tx,
        messages.c.expires_at > tx.after(LONGEST_LIFETIME),
        messages.c.created_at > tx.after(LONGEST_PAUSE),
    )
    expires_at = messages.c.expires_at - messages.c.created_at + tx.now
    due_at = case((messages.c.state == State.HELD.value, expires_at), else_=messages.c.due_at)
    return _move(tx, rows, created_at=tx.now, expires_at=expires_at, due_at=due_at)


def _calls(tx: Transaction) -> int:
    """Calls whose caller was lost, and those set further off than any pause is."""
    due_at, callback_state = statuses.c.due_at, statuses.c.callback_state
    lost = (callback_state == CallbackState.CALLING.value) & (due_at <= tx.now)
    # As with messages: the first call is due at once.
    too_far = or_(due_at > tx.after(LONGEST_CALL_PAUSE), statuses.c.attempt == 0)
    far = (callback_state == CallbackState.QUEUED.value) & (due_at > tx.now) & too_far
    held_on = (callback_state == CallbackState.CALLING.value) & (due_at > tx.after(LONGEST_LEASE))
    queued = sum(
        _move_calls(tx, which, callback_state=CallbackState.QUEUED.value, due_at=tx.now)
        for which in (lost, far)
    )
    return queued + _move_calls(tx, held_on, due_at=tx.after(LONGEST_LEASE))


def _move_calls(tx: Transaction, which: ColumnElement[bool], **values: Any) -> int:
    found = select(statuses.c.seq).where(statuses.c.due_at.is_not(None), which).limit(MOST)
    moved = update(statuses).where(statuses.c.seq.in_(tx.locking(found, skip_locked=True))).values(**values)
    return tx.connection.execute(moved).rowcount


def prune(tx: Transaction, asked: Sequence[None]) -> list[int]:
    """Forget what ended longer ago than the retention; at most MOST messages."""
    still_told = exists().where(
        statuses.c.message_id == messages.c.id, statuses.c.callback_state.in_([one.value for one in OPEN])
    )
    old = tx.locking(
        select(messages.c.id)
        .where(messages.c.ended_at <= tx.after(-tx.policy.retention), ~still_told)
        .order_by(messages.c.ended_at)
        .limit(MOST),
        skip_locked=True,
    )
    ids = list(tx.connection.execute(old).scalars())
    if ids:
        tx.connection.execute(delete(contents).where(contents.c.message_id.in_(ids)))
        tx.connection.execute(delete(statuses).where(statuses.c.message_id.in_(ids)))
        tx.connection.execute(delete(messages).where(messages.c.id.in_(ids)))
    return [len(ids)] * len(asked)
