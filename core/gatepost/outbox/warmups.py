"""The places of instances that warm up: each is the right to begin one send of the period, whichever replica has it.

The state of each warm-up is a row of ``plugin_state``. A claim locks it, and takes a place for each message that it claims
in its own transaction. How many places are taken is a number in ``counters``, which a send that was not made lowers again
without that lock. Two replicas never take places of the same instance at the same moment, so the number never exceeds the
cap. As with turns, a claim does not wait for a row that another transaction has locked.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from gatepost.outbox import counters
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.schema import plugin_state
from gatepost.outbox.transaction import CounterKey, DialectPair, Transaction
from gatepost.outbox.turns import CLAIM_INTERVAL
from gatepost.outbox.warmup_steps import (
    PERIODS,
    Place,
    Sends,
    Warmup,
    WarmupState,
    is_carried,
    judged_periods,
    next_state,
)

OWNER = "warmup/"
"""How the names begin under which ``plugin_state`` has the states. No instance can have such a name."""

FULL_INTERVAL = 10.0
"""Seconds after which a process asks again for places where none was left: a send that was not made gives its own back."""

MARGIN = 0.1
"""Seconds before the end of a period in which no send begins any more: the clocks of two processes are not the same."""

_KEY = "state"

_select = (
    select(plugin_state.c.instance, plugin_state.c.value)
    .where(one_of(plugin_state.c.instance, IDS), plugin_state.c.key == _KEY)
    .order_by(plugin_state.c.instance)
)
_read = DialectPair(_select, _select)
_lock = DialectPair(_select, _select.with_for_update(skip_locked=True))
_store = (
    update(plugin_state)
    .where(plugin_state.c.instance == bindparam("of_instance"), plugin_state.c.key == _KEY)
    .values(value=bindparam("state"))
)


def sent_key(instance: str, period: int) -> CounterKey:
    """Return the key of the number of places that are taken in a period."""
    return period, f"{OWNER}{instance}"


def failed_key(instance: str, period: int) -> CounterKey:
    """Return the key of the number of sends of a period that failed or were rejected."""
    return period, f"{OWNER}{instance}/failed"


def complained_key(instance: str, period: int) -> CounterKey:
    """Return the key of the number of sends of a period that users complained about."""
    return period, f"{OWNER}{instance}/complained"


class Places:
    """The places of some instances, locked until the transaction ends."""

    def __init__(self, tx: Transaction, plans: Iterable[Warmup]) -> None:
        """Lock the rows of these instances, and begin the period of now. Where there are none, this costs nothing."""
        self._tx = tx
        self._plans = {plan.instance: plan for plan in plans}
        self._states: dict[str, WarmupState] = {}
        """Those that are locked."""
        self._left: dict[str, int] = {}
        if self._plans:
            self._begin_periods(self._locked_states())
            used = counters.read(tx, [sent_key(name, one.began) for name, one in self._states.items()])
            self._left = {
                name: one.limit - used[sent_key(name, one.began)] for name, one in self._states.items()
            }

    def _locked_states(self) -> dict[str, WarmupState | None]:
        """Lock and return the states of the instances; without those that another transaction has locked."""
        found = self._rows(_lock, self._plans)
        missing = self._plans.keys() - found.keys()
        # An insert would wait for a transaction that has changed the same row.
        if missing and (new := sorted(missing - self._rows(_read, missing).keys())):
            self._tx.insert_new(
                plugin_state, [{"instance": OWNER + name, "key": _KEY, "value": ""} for name in new]
            )
            found |= self._rows(_lock, new)
        return {name: _decoded(text) for name, text in found.items()}

    def _rows(self, statement: DialectPair, names: Collection[str]) -> dict[str, str]:
        rows = self._tx.select_by_ids(statement, sorted(OWNER + name for name in names))
        return {row.instance.removeprefix(OWNER): row.value for row in rows}

    def _begin_periods(self, stored: Mapping[str, WarmupState | None]) -> None:
        """Bring the states to this moment, and store those that are new."""
        counts = self._judged({name: one for name, one in stored.items() if one and one.end <= self._tx.now})
        changed = []
        for name, old in stored.items():
            new = next_state(self._plans[name], old, self._tx.now, counts.get(name, {}))
            self._states[name] = new
            if new != old:
                changed.append({"of_instance": OWNER + name, "state": msgspec.json.encode(new).decode()})
            if old and is_carried(old, new):
                used = counters.read(self._tx, [key := sent_key(name, old.began)])[key]
                counters.add(self._tx, sent_key(name, new.began), used)
        if changed:
            self._tx.execute_many(_store, changed)

    def _judged(self, ended: Mapping[str, WarmupState]) -> dict[str, dict[int, Sends]]:
        """Return for each instance whose period has ended the sends by which its next cap is decided."""
        kinds = sent_key, failed_key, complained_key
        periods = {name: judged_periods(one) for name, one in ended.items()}
        keys = [kind(name, begin) for name in periods for begin in periods[name] for kind in kinds]
        found = counters.read(self._tx, keys) if keys else {}
        return {
            name: {begin: Sends(*(found[kind(name, begin)] for kind in kinds)) for begin in periods[name]}
            for name in periods
        }

    def available(self, plans: Sequence[Warmup | None], limit: int) -> int:
        """Return for how many of ``limit`` messages there are places; ``plans``: of each message's instance."""
        if not self._plans:
            return limit
        left = dict(self._left)
        for count, plan in enumerate(plans[:limit]):
            if plan is None:
                continue
            if left.get(plan.instance, 0) <= 0:
                return count
            left[plan.instance] -= 1
        return limit

    def take(self, plan: Warmup | None) -> Place | None:
        """Take a place of an instance; None for one that does not warm up."""
        if plan is None:
            return None
        self._left[plan.instance] -= 1
        state = self._states[plan.instance]
        counters.add(self._tx, sent_key(plan.instance, state.began), 1)
        return Place(plan.instance, state.began, self._read_at(state.end) - MARGIN)

    def _read_at(self, moment: int) -> float:
        """Return a moment as a time of the process's monotonic clock."""
        return self._tx.read_at + self._tx.seconds_until(moment)

    def next_claim_at(self) -> dict[str, float]:
        """Return for each instance that is locked elsewhere when a claim should try again, by the monotonic clock."""
        at = self._tx.read_at + CLAIM_INTERVAL / 1000
        return dict.fromkeys(self._plans.keys() - self._states.keys(), at)

    def full_until(self) -> dict[str, float]:
        """Return for each instance without places left until when others get its messages, by the monotonic clock."""
        again = self._tx.read_at + FULL_INTERVAL
        return {
            name: min(again, self._read_at(self._states[name].end))
            for name, left in self._left.items()
            if left <= 0
        }


def take_places(tx: Transaction, plans: Sequence[Warmup]) -> list[Place | None]:
    """Take a place for each plan; None where none is left, or another transaction has locked the row.

    For a message that is claimed already: it goes to another instance than planned, or its period has ended.
    """
    places = Places(tx, plans)
    return [places.take(plan) if places.available([plan], 1) else None for plan in plans]


def advance(tx: Transaction, items: Sequence[None]) -> list[None]:
    """Begin the new periods of all warm-ups, also of those that nothing is sent through."""
    Places(tx, tx.policy.warmups.values())
    return [None] * len(items)


WORK = take_places, advance
"""Work that locks rows, so that it waits for nothing else afterwards; see ``GroupCommit``."""


class WarmupView(msgspec.Struct, frozen=True, kw_only=True):
    """The warm-up of an instance as an operator sees it."""

    instance: str
    per: str
    """``day`` or ``hour``."""
    cap: int
    used: int
    ends_at: float
    """When the period ends, in seconds since the epoch."""
    decision: str
    """What became of the cap when the period began, and why."""

    def is_full(self, now: float) -> bool:
        """Return whether nothing more is sent through it in this period; ``now`` in seconds since the epoch."""
        return self.used >= self.cap and now < self.ends_at


def find(connection: Connection) -> list[WarmupView]:
    """Return all warm-ups that have begun, also those of instances that are no longer configured."""
    query = (
        select(plugin_state.c.instance, plugin_state.c.value)
        .where(plugin_state.c.instance.startswith(OWNER))
        .order_by(plugin_state.c.instance)
    )
    rows = connection.execute(query).all()
    states = {row.instance.removeprefix(OWNER): state for row in rows if (state := _decoded(row.value))}
    if not states:
        return []
    used = counters.totals(connection, [sent_key(name, one.began) for name, one in states.items()])
    return [
        WarmupView(
            instance=name,
            per=next(per for per, length in PERIODS.items() if length == one.period),
            cap=one.limit,
            used=used.get(sent_key(name, one.began), 0),
            ends_at=one.end / 1000,
            decision=one.decision,
        )
        for name, one in states.items()
    ]


def _decoded(text: str) -> WarmupState | None:
    return msgspec.json.decode(text, type=WarmupState) if text else None
