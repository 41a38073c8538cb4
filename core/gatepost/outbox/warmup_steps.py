"""The warm-up of an instance: the cap on its sends in a period, and how it changes at the end of each.

Pure functions. Times are in milliseconds since the epoch. The cap grows when the period used it and its sends were
received well, and goes back when they were not; docs/explanation/design.md says why.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

DAY = 86_400_000

PERIODS = {"day": DAY, "hour": 3_600_000}
"""The periods, as the configuration names them."""

MIN_USED = 0.5
"""The part of a cap that has to be used before it grows: volume that was not sent builds no reputation."""

MAX_COMPLAINED = 0.001
"""The part of the sends from which on complaints keep the cap where it is. Gmail's guidelines for senders ask for less."""

BACK_COMPLAINED = 0.003
"""The part of the sends from which on complaints lower the cap. Gmail's guidelines say never to reach it."""

MAX_FAILED, BACK_FAILED = 0.05, 0.1
"""The same for failures."""

MIN_EVENTS = 2
"""Complaints or failures that lower the cap at least: a single one says nothing about a rate."""

MAX_CAP = 1_000_000_000.0

MAX_AHEAD = 2 * DAY
"""How far in the future a stored period may begin, because the clock was set back; beyond that it is replaced."""


class Warmup(NamedTuple):
    """The warm-up of an instance, as it is configured."""

    instance: str
    first: int
    """The cap of the first period."""
    factor: float
    period: int
    """The length of a period."""


class Place(NamedTuple):
    """The right to begin one send, which counts for a period."""

    instance: str
    period: int
    """When the period begins."""
    until: float
    """When the period ends, by the monotonic clock of the process. Later no send may begin with this place."""


class Sends(NamedTuple):
    """The sends of a time, and what is known of them."""

    sent: int = 0
    failed: int = 0
    complained: int = 0


class WarmupState(msgspec.Struct, frozen=True, kw_only=True):
    """How far the warm-up of an instance has come. It is stored as JSON."""

    began: int
    """When the period began that is counted."""
    period: int
    """Its length."""
    cap: float
    """With decimals, so that small caps grow too."""
    cap_before: float
    """The cap of the period before."""
    decision: str = ""
    """What became of the cap when this period began, and why, for an operator."""
    lowered: int = 0
    """When the last period began after which the cap was lowered."""

    @property
    def limit(self) -> int:
        """The largest number of sends in this period."""
        # 100 * 1.15 is a little less than 115.
        return math.floor(self.cap + 1e-6)

    @property
    def end(self) -> int:
        """When this period ends."""
        return self.began + self.period


def judged_periods(state: WarmupState) -> Sequence[int]:
    """Return the beginnings of the periods by which the next cap is decided: of this one and of the day before it."""
    return range(state.began - DAY, state.began + 1, state.period)


def next_state(plan: Warmup, state: WarmupState | None, now: int, counts: Mapping[int, Sends]) -> WarmupState:
    """Return the state at a moment; ``counts`` are the sends of the ``judged_periods``, by their beginnings."""
    start = now - now % plan.period
    if state is None:
        cap = float(plan.first)
        return WarmupState(began=start, period=plan.period, cap=cap, cap_before=cap, decision="it has begun")
    if state.period != plan.period:
        state = msgspec.structs.replace(
            state, began=start, period=plan.period, decision="its period has changed"
        )
    elif start < state.began - MAX_AHEAD:
        cap = min(state.cap, state.cap_before)
        state = msgspec.structs.replace(state, began=start, cap=cap, decision="the clock was set back")
    elif start > state.began:
        state = _decide(plan, state, start, counts)
    # Else it is the same period, or the clock was set back and that period goes on until the clock is there again.
    return msgspec.structs.replace(state, cap=max(state.cap, float(plan.first)))


def is_carried(old: WarmupState, new: WarmupState) -> bool:
    """Return whether the sends of the old period count for the new one too, which began before its end."""
    return new.began != old.began and (new.began < old.began or new.period != old.period)


def _decide(plan: Warmup, state: WarmupState, start: int, counts: Mapping[int, Sends]) -> WarmupState:
    """Return the state of the period that begins at ``start``, after that of ``state`` has ended."""
    ended = counts.get(state.began, Sends())
    earlier = {begin: one for begin, one in counts.items() if begin < state.began}
    day_before = _sum(earlier.values())
    # Sends that have lowered the cap before don't lower it again.
    not_answered = _sum(one for begin, one in earlier.items() if begin > state.lowered)
    cap, lowered = state.cap, state.lowered
    if why := _problem(ended, lower=True) or _of_day(_problem(not_answered, lower=True)):
        cap, lowered = cap / plan.factor, state.began
    elif ended.sent < MIN_USED * state.limit:
        why = f"{ended.sent:,} were used, and it grows after half"
    elif not (why := _problem(ended) or _of_day(_problem(day_before))):
        cap = min(MAX_CAP, cap * plan.factor)
    new = msgspec.structs.replace(
        state,
        began=start,
        cap=max(cap, float(plan.first)),
        cap_before=state.cap,
        lowered=lowered,
    )
    return msgspec.structs.replace(new, decision=_decision(state.limit, new.limit, why))


def _sum(parts: Iterable[Sends]) -> Sends:
    return Sends(*map(sum, zip(Sends(), *parts, strict=True)))


def _problem(sends: Sends, *, lower: bool = False) -> str:
    """Return why the cap must not grow after these sends, or with ``lower`` why it is lowered; empty if neither."""
    minimum = MIN_EVENTS if lower else 1
    for count, limit, what in (
        (sends.complained, BACK_COMPLAINED if lower else MAX_COMPLAINED, "complained"),
        (sends.failed, BACK_FAILED if lower else MAX_FAILED, "failed"),
    ):
        if sends.sent and count >= minimum and count >= limit * sends.sent:
            return f"of {sends.sent:,} sends {count:,} {what}"
    return ""


def _of_day(problem: str) -> str:
    return problem and f"{problem}, of the day before"


def _decision(before: int, after: int, why: str) -> str:
    if after > before:
        return f"it grew from {before:,}"
    reason = f", because {why}" if why else ""
    return f"it was lowered from {before:,}{reason}" if after < before else f"it stayed{reason}"
