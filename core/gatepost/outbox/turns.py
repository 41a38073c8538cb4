"""The turns of an instance with a rate that several replicas share.

The generic cell rate algorithm with one row for each instance: the time of its next turn. A claim takes turns in its own
transaction, as many as it claims messages, and at most those of the next TURN_AHEAD milliseconds. No two turns are the
same, and the interval between two of them is never shorter than the rate allows, whichever replica has them.

A claim does not wait for a row that another transaction has locked. The same transaction claims for other instances
too, and the process that has the lock may have stopped.
"""

import math
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.schema import turns
from gatepost.outbox.transaction import DialectPair, Transaction

TURN_DELAY = 20
"""Milliseconds from the claim to its first turn: the time of a commit. Turns that are over when the commit is there would
be used together."""

TURN_AHEAD = 200
"""Milliseconds beyond TURN_DELAY for which turns may be taken."""

CLAIM_INTERVAL = 100
"""Milliseconds between two claims of a process that takes every turn it can get."""

LOCKED = sys.maxsize
"""The next turn of an instance whose row another transaction has locked."""

MAX_LOCK_WAIT = 60_000
"""Milliseconds that a transaction may be older than the one that had the turns before it."""


class Rate(NamedTuple):
    """The rate of an instance."""

    instance: str
    interval: int
    """Microseconds between two turns."""


def shared_rate(instance: str, per_second: float) -> Rate:
    """Return the rate of an instance that starts at most ``per_second`` sends each second."""
    # Rounded up: the rate is never exceeded.
    return Rate(instance, max(1, math.ceil(1_000_000 / per_second)))


_select = (
    select(turns.c.instance, turns.c.next_at).where(one_of(turns.c.instance, IDS)).order_by(turns.c.instance)
)
_read = DialectPair(_select, _select)
_lock = DialectPair(_select, _select.with_for_update(skip_locked=True))
_advance = update(turns).where(turns.c.instance == bindparam("of_instance")).values(next_at=bindparam("next"))


class Turns:
    """The turns of some instances, locked until the transaction ends."""

    def __init__(self, tx: Transaction, rates: Iterable[Rate], lead: float = 0.0) -> None:
        """Lock the rows of these instances. Where there are none, this costs nothing.

        ``lead`` is the time in seconds that a message needs between its claim and its send. No turn is earlier.
        """
        self._tx = tx
        self._first = (tx.now + TURN_DELAY) * 1000 + round(lead * 1_000_000)
        self._end = self._first + TURN_AHEAD * 1000
        self._rates = {rate.instance: rate for rate in rates}
        self._next = self._lock() if self._rates else {}
        self._taken: set[str] = set()

    def _lock(self) -> dict[str, int]:
        found = self._rows(_lock, self._rates)
        if missing := self._rates.keys() - found.keys():
            found |= self._insert(missing)
        # A later time than any claim leaves behind: the clock was set back, or the interval was longer before.
        limit = self._end + MAX_LOCK_WAIT * 1000
        # No turns of an instance whose row another transaction has locked: a later claim tries again.
        return dict.fromkeys(self._rates, LOCKED) | {
            name: self._first if moment > limit + self._rates[name].interval else max(moment, self._first)
            for name, moment in found.items()
        }

    def _insert(self, names: Collection[str]) -> dict[str, int]:
        """Insert and lock the rows that do not exist yet; return them."""
        # An insert would wait for a transaction that has changed the same row.
        new = sorted(set(names) - self._rows(_read, names).keys())
        if not new:
            return {}
        self._tx.insert_new(turns, [{"instance": name, "next_at": 0} for name in new])
        return self._rows(_lock, new)

    def _rows(self, statement: DialectPair, names: Collection[str]) -> dict[str, int]:
        return {row.instance: row.next_at for row in self._tx.select_by_ids(statement, sorted(names))}

    def available(self, rates: Sequence[Rate | None], limit: int) -> int:
        """Return for how many of ``limit`` messages there are turns; ``rates``: of each message's instance."""
        if not self._rates:
            return limit
        left: dict[str, int] = {}
        for count, rate in enumerate(rates[:limit]):
            if rate is None:
                continue
            name = rate.instance
            if name not in left:
                left[name] = max(0, (self._end - self._next[name]) // rate.interval + 1)
            if not left[name]:
                return count
            left[name] -= 1
        return limit

    def is_locked(self, rate: Rate) -> bool:
        """Return whether another transaction has locked the row of an instance."""
        return self._next[rate.instance] == LOCKED

    def take(self, rate: Rate | None) -> float:
        """Take the next turn of an instance; return it as a time of this process's monotonic clock. 0: at once."""
        if rate is None:
            return 0.0
        turn = self._next[rate.instance]
        self._next[rate.instance] = turn + rate.interval
        self._taken.add(rate.instance)
        return self._tx.read_at + (turn - self._tx.now * 1000) / 1_000_000

    def next_claim_at(self) -> dict[str, float]:
        """Return for each instance without turns left when a claim should try again, as a time of the monotonic clock."""
        waits = {
            name: 0 if turn == LOCKED else turn - self._end
            for name, turn in self._next.items()
            if turn > self._end
        }
        return {
            name: self._tx.read_at + (wait + CLAIM_INTERVAL * 1000) / 1_000_000
            for name, wait in waits.items()
        }

    def store(self) -> None:
        """Store the next turn of each instance of which turns were taken."""
        if self._taken:
            rows = [{"of_instance": name, "next": self._next[name]} for name in sorted(self._taken)]
            self._tx.execute_many(_advance, rows)


def take_turns(tx: Transaction, rates: Sequence[Rate]) -> list[float | None]:
    """Take a turn for each rate; return it as a time of the monotonic clock, None where none is left.

    For a message that is claimed already and goes to another instance than planned.
    """
    locked = Turns(tx, rates)
    taken = [locked.take(rate) if locked.available([rate], 1) else None for rate in rates]
    locked.store()
    return taken


def replace_turns(tx: Transaction, rates: Sequence[Rate]) -> list[float | None]:
    """Take a turn for each rate, however far ahead it is; None where another transaction has locked the row.

    For a message that was not ready at its turn.
    """
    locked = Turns(tx, rates)
    taken = [None if locked.is_locked(rate) else locked.take(rate) for rate in rates]
    locked.store()
    return taken


WORK = take_turns, replace_turns
"""All work here, of which none may be repeated after a lost connection: it would take further turns."""
