"""How a claim takes rows from a queue, and from where on it looks for them.

A row that is claimed leaves its entry behind in PostgreSQL's index on what is due, and as long as anybody has
an old transaction open (a backup, a report, a forgotten session) nothing may clean it away. A claim reads that
index from its lowest end, so it would walk over all that was ever claimed meanwhile: 8 ms after 50,000 messages,
and more with each. So a process remembers how far it has come, and begins there. Every few seconds it looks
at everything again: nothing is stranded behind that.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Executable, Select, func, null, select, update

from gatepost.outbox.transaction import Transaction

LOOK = 5.0
"""Seconds after which a claim looks at everything again."""

BEHIND = 1000
"""Milliseconds by which a claim begins before where the last one came to: what was made due earlier may be
committed later."""

EVERYTHING = 0
"""A moment before any."""


def taking(
    key: Column[Any],
    due: Select[Any],
    values: Mapping[str, Any],
    returning: Sequence[ColumnElement[Any]],
    *,
    many_writers: bool,
) -> Executable:
    """The statement that takes what ``due`` finds, which are keys with their ``due_at``.

    It gives what ``returning`` names, and as ``last`` the highest due time of all, on PostgreSQL.
    """
    found = (due.with_for_update(skip_locked=True) if many_writers else due).cte("due")
    keys = select(found.c[key.name])
    these: ColumnElement[bool] = key.in_(keys)
    last: ColumnElement[Any] = null()
    if many_writers:
        # Not IN: where the planner expects many rows it would read the whole table for the few that it gets.
        these = key == func.any(func.array(keys.scalar_subquery()))
        last = select(func.max(found.c.due_at)).scalar_subquery()
    return update(key.table).where(these).values(dict(values)).returning(*returning, last.label("last"))


class ClaimProgress(NamedTuple):
    """How far a claim came, in milliseconds of the database's clock."""

    last: int | None
    """The highest due time of what it took; None when that was nothing."""
    now: int
    """What was due by then could be taken."""
    ended: bool
    """Whether it took all that there was, and not merely as much as it wanted."""


def progress(tx: Transaction, rows: Sequence[Any], most: int) -> ClaimProgress:
    """How far the claim came that took these rows and wanted so many."""
    return ClaimProgress(rows[0].last if rows else None, tx.now, ended=len(rows) < most)


class Watermark:
    """From when on one process has still to look at one queue."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` in seconds; never jumps."""
        self._clock = clock
        self._since = EVERYTHING
        self._look_at = clock()
        self._passed_over: frozenset[str] = frozenset()

    def since(self, passed_over: frozenset[str] = frozenset()) -> int:
        """Return the due time at which the next claim begins, which leaves out rows of these kinds.

        When it leaves out fewer kinds than the claims before, it looks at everything: rows of the others may
        stand behind.
        """
        if not self._passed_over <= passed_over:
            self._look_at = self._clock()
            self._passed_over = frozenset()
        self._passed_over |= passed_over
        return EVERYTHING if self._clock() >= self._look_at else self._since

    def reached(self, since: int, came: ClaimProgress) -> None:
        """A claim that began at ``since`` is committed and came that far."""
        if since == EVERYTHING:
            # What it took may be old, and more of the kind may follow: begin there, wherever it was before.
            self._look_at = self._clock() + LOOK
            self._since = EVERYTHING
        until = came.now if came.ended else came.last
        if until is not None:
            self._since = max(self._since, until - BEHIND)
