"""The due time from which a claim on PostgreSQL starts to read the index.

A claimed row leaves a dead entry in PostgreSQL's index on due times, and vacuum can't remove it while any old
transaction is open (a backup, a report, a forgotten session). A claim reads that index from its lowest end, so it
would pass every entry claimed since that transaction began: 8 ms after 50,000 messages, and more with each one.
So each process remembers how far its claims have come and starts there. Every FULL_SCAN_INTERVAL one claim reads
the whole index, so that no row below the watermark is left behind.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gatepost.outbox.transaction import Transaction

FULL_SCAN_INTERVAL = 5.0
"""Seconds between two claims that read the whole index."""

COMMIT_DELAY = 1000
"""Milliseconds that a claim starts below the watermark: a row with an earlier due time may be committed later."""

FULL_SCAN = 0
"""The ``min_due_at`` of a claim that reads the whole index; earlier than every due time."""


class ClaimProgress(NamedTuple):
    """How far a claim came, in milliseconds of the database's clock."""

    max_due_at: int | None
    """The highest due time of the claimed rows; None without rows, and always None on SQLite."""
    now: int
    """When the claim was made: only rows that were due by then could be claimed."""
    exhausted: bool
    """Whether the claim got every due row, and was not stopped by its limit."""


def claim_progress(tx: Transaction, rows: Sequence[Any], limit: int) -> ClaimProgress:
    """Return the progress of a claim that was made with this limit and returned these rows."""
    return ClaimProgress(rows[0].max_due_at if rows else None, tx.now, exhausted=len(rows) < limit)


class Watermark:
    """The due time up to which one process has claimed one queue."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is in seconds and never jumps."""
        self._clock = clock
        self._min_due_at = FULL_SCAN
        self._full_scan_at = clock()
        self._excluded: frozenset[str] = frozenset()

    def min_due_at(self, excluded: frozenset[str] = frozenset()) -> int:
        """Return the due time at which the next claim starts; the claim leaves out the ``excluded`` targets.

        A target that earlier claims left out and this one does not may have rows below the watermark: then the
        claim reads the whole index.
        """
        if not self._excluded <= excluded:
            self._full_scan_at = self._clock()
            self._excluded = frozenset()
        self._excluded |= excluded
        return FULL_SCAN if self._clock() >= self._full_scan_at else self._min_due_at

    def advance(self, min_due_at: int, progress: ClaimProgress) -> None:
        """Note the progress of a committed claim that started at ``min_due_at``."""
        if min_due_at == FULL_SCAN:
            # Its rows may be old and more old ones may follow, so the watermark starts anew from its progress.
            self._full_scan_at = self._clock() + FULL_SCAN_INTERVAL
            self._min_due_at = FULL_SCAN
        reached = progress.now if progress.exhausted else progress.max_due_at
        if reached is not None:
            self._min_due_at = max(self._min_due_at, reached - COMMIT_DELAY)
