"""The rows whose time has come: one question whether there is any, and a statement for each kind.

Nearly always there is none, and each process asks every second. So all statements are built once, and a sweep that finds
nothing costs one of them.
"""

from collections.abc import Collection, Mapping
from typing import TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Table, and_, bindparam, exists, literal_column, or_, select

from gatepost.outbox.callbacks import has_state
from gatepost.outbox.fallback_store import is_last_wait
from gatepost.outbox.one_of import one_of
from gatepost.outbox.queues import any_queue
from gatepost.outbox.reports import STATUS_COLUMNS
from gatepost.outbox.schema import messages, statuses
from gatepost.outbox.states import CallbackState, State
from gatepost.outbox.transaction import DialectPair, Transaction

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


Moments: TypeAlias = Mapping[str, object]
"""The parameters of all statements here."""


def moments(tx: Transaction, silent: Collection[str]) -> Moments:
    """Return the moments of this transaction; ``silent`` are the instances that can't report at present."""
    longest_wait = max((one.wait for one in tx.policy.fallbacks.values()), default=MAX_LEASE)
    return {
        "now": tx.now,
        "silent": sorted(silent),
        "held_from": 0 if tx.policy.hold_uncertain else MAX_LOST_ANSWERS,
        "pause_end": tx.after(MAX_PAUSE),
        "uncertain_end": tx.after(tx.policy.uncertain_wait),
        "wait_end": tx.after(longest_wait),
        "lease_end": tx.after(MAX_LEASE),
        "lifetime_end": tx.after(MAX_LIFETIME),
        "callback_pause_end": tx.after(MAX_CALLBACK_PAUSE),
    }


def _moment(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger)


def _has(state: State) -> ColumnElement[bool]:
    # A literal, as in ``has_state`` of callbacks: PostgreSQL must know how rare the state is. For a parameter it expects
    # as many rows as of any other state, and reads a whole backlog to find that none of it is in this one.
    return messages.c.state == literal_column(f"'{state.value}'")


_due_at, _state, _now = messages.c.due_at, messages.c.state, _moment("now")
_is_due = _due_at <= _now
_waits_for_report = and_(_has(State.UNCERTAIN), _is_due)
_waits_for_delivery = and_(_has(State.AWAITING), _is_due)
# A message that was never tried was due at once, so every future due time is wrong. The first comparison stands by
# itself before the OR: otherwise every waiting row would be read.
_too_late = (_due_at > _now) & or_(_due_at > _moment("pause_end"), messages.c.attempt == 0)


class DueRows:
    """A kind of rows whose time has come, and the statements about it."""

    def __init__(
        self, condition: ColumnElement[bool], *, table: Table = messages, by_queue: bool = True
    ) -> None:
        """``by_queue``: the rows are messages that are found by the index on due times, which begins with the queue."""
        self._condition = and_(table.c.due_at.is_not(None), condition)
        self._by_queue = by_queue
        columns = (*STATUS_COLUMNS, messages.c.instance) if table is messages else (statuses.c.seq,)
        query = select(*columns).limit(SWEEP_BATCH)
        self.select = DialectPair(
            query.where(self.condition(postgresql=False)),
            query.where(self.condition(postgresql=True)).with_for_update(skip_locked=True),
        )
        """Returns at most SWEEP_BATCH of the rows, locked, and of a status its ``seq`` alone."""

    def condition(self, *, postgresql: bool) -> ColumnElement[bool]:
        """Return the condition in the form of a dialect."""
        return and_(any_queue(postgresql=postgresql), self._condition) if self._by_queue else self._condition

    def exist(self, *, postgresql: bool) -> ColumnElement[bool]:
        """Return the condition that there is such a row."""
        return exists().where(self.condition(postgresql=postgresql))


EXPIRED = DueRows(and_(messages.c.expires_at <= _now, one_of(_state, _MAY_EXPIRE)), by_queue=False)
LEASES = DueRows(and_(_has(State.SENDING), _is_due))
UNREPORTED = DueRows(and_(_waits_for_report, messages.c.lost_answers < bindparam("held_from")))
"""Uncertain messages whose wait for a report has ended, and that may be sent again."""
HELD = DueRows(and_(_waits_for_report, messages.c.lost_answers >= bindparam("held_from")))
"""Uncertain messages whose wait for a report has ended, and that the operator decides about."""
UNDELIVERED = DueRows(
    and_(_waits_for_delivery, ~one_of(messages.c.instance, bindparam("silent")), ~is_last_wait)
)
LAST_WAITS = DueRows(and_(_waits_for_delivery, is_last_wait))

# Due times further in the future than any wait, and the moment that each is set to.
CORRECTED = (
    (DueRows(and_(_has(State.QUEUED), _too_late)), "now"),
    (DueRows(and_(_has(State.SUSPECT), _too_late)), "now"),
    (DueRows(and_(_has(State.UNCERTAIN), _due_at > _moment("uncertain_end"))), "uncertain_end"),
    (
        DueRows(and_(_has(State.AWAITING), _due_at > _moment("wait_end"), ~is_last_wait)),
        "wait_end",
    ),
    (DueRows(and_(_has(State.SENDING), _due_at > _moment("lease_end"))), "lease_end"),
)
LIFETIMES = DueRows(
    and_(messages.c.expires_at > _moment("lifetime_end"), messages.c.created_at > _moment("pause_end")),
    by_queue=False,
)
"""Messages that were stored before the clock went far back."""


def _callbacks(state: CallbackState, *conditions: ColumnElement[bool]) -> DueRows:
    where = and_(has_state(state), *conditions)
    return DueRows(where, table=statuses, by_queue=False)


LOST_CALLBACKS = _callbacks(CallbackState.CALLING, statuses.c.due_at <= _now)
"""Callbacks whose process was lost."""
LATE_CALLBACKS = _callbacks(
    CallbackState.QUEUED,
    statuses.c.due_at > _now,
    # As with messages: the first call is due at once.
    or_(statuses.c.due_at > _moment("callback_pause_end"), statuses.c.attempt == 0),
)
LONG_LEASES_OF_CALLBACKS = _callbacks(CallbackState.CALLING, statuses.c.due_at > _moment("lease_end"))

_KINDS = (
    *(EXPIRED, LEASES, UNREPORTED, HELD, UNDELIVERED, LAST_WAITS),
    *(rows for rows, _ in CORRECTED),
    *(LIFETIMES, LOST_CALLBACKS, LATE_CALLBACKS, LONG_LEASES_OF_CALLBACKS),
)
_any_exists = DialectPair(
    select(or_(*(kind.exist(postgresql=False) for kind in _KINDS)).label("any_exists")),
    select(or_(*(kind.exist(postgresql=True) for kind in _KINDS)).label("any_exists")),
)


def any_due(tx: Transaction, now: Moments) -> bool:
    """Return whether there is a row of any kind."""
    [row] = tx.fetch(_any_exists, **now)
    return bool(row.any_exists)
