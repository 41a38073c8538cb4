"""Slots for callbacks: how many calls each client may have in flight, and a breaker for each of its targets.

A target is the ``host:port`` of a callback URL. Dead or slow targets of one client must not delay the calls of
another, so two clients share nothing here but the number of free slots.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from gatepost.errors import SendError
from gatepost.throttle import BreakerState, Throttle

SLOTS_PER_FREE_SLOT = 3
"""Slots that a client may hold for each slot that is free: a single client three quarters of all, each of two clients
three sevenths."""

MAX_TARGETS = 1_000
"""Breakers in memory for one client; the least recently used one is dropped first."""

MAX_PROBES = 4
"""Targets of one client that are probed at once; each probe takes a query of its own in the store."""

RECHECK_INTERVAL = 1.0
"""Seconds until the next claim for a client that has resting targets and no due call to any other target. The store
has to skip every call that waits for a resting target, which takes longer the more of them there are."""

RESERVED_INTERVAL = 0.1
"""Seconds until the next claim of a reserved slot for a client that has no due call to any other target."""


def allowed_calls(in_flight: int, free_slots: int, idle_clients: int = 0) -> int:
    """Return how many more calls a client may begin while it has ``in_flight`` calls and ``free_slots`` are left.

    One slot is left for each of the ``idle_clients``: other clients with no call in flight. A client with no call in
    flight may take the last slot. ``free_slots`` may be negative; then the answer is 0.
    """
    more = (SLOTS_PER_FREE_SLOT * (free_slots - idle_clients) - in_flight) // (1 + SLOTS_PER_FREE_SLOT)
    return max(0, min(free_slots, max(more, 0 if in_flight else 1)))


class ClaimPlan(NamedTuple):
    """The description of one claim of callbacks for a client."""

    limit: int
    """Maximum number of calls."""
    excluded_targets: frozenset[str] = frozenset()
    target: str = ""
    """The single target of a probe; empty: any target."""
    reserved: bool = False
    """Whether the call takes one of the slots reserved for targets with no call in flight."""


class RestingTarget(NamedTuple):
    """A target that is not called at present, or only for a probe."""

    target: str
    seconds: float
    """Until it is called again; 0: with the next call that is due."""
    failing_for: float
    """Seconds since it began to fail."""
    reason: str


class ClientSlots:
    """The calls of one client that are in flight, and the breakers of its targets."""

    def __init__(self, concurrency: int) -> None:
        """Take the number of calls to one target that may be in flight at once."""
        self._concurrency = concurrency
        self._breakers: OrderedDict[str, Throttle] = OrderedDict()
        self._tripped: OrderedDict[str, float] = OrderedDict()
        """Targets that are not usable, each with the time from which it may be probed."""
        self.in_flight = 0
        """Number of calls in flight."""
        self._next_check = 0.0
        self._next_reserved = 0.0
        self._call_ended = False
        """Whether a call has ended since the last claim was planned; then there may be more to claim."""
        self.busy = False
        """Whether the last claim for this client brought calls."""

    def may_claim(self, now: float, allowed: int) -> bool:
        """Return whether there is a claim to make now, for no more than ``allowed`` calls."""
        if allowed <= 0:
            return False
        if any(self._probe_targets(now)):
            return True
        max_used = self.in_flight + allowed
        is_reserved = max_used - max_used // 4 <= self.in_flight
        return now >= (max(self._next_check, self._next_reserved) if is_reserved else self._next_check)

    def plan_claims(self, now: float, limit: int, allowed: int) -> Iterator[ClaimPlan]:
        """Yield the claims to make now, for no more than ``allowed`` calls together.

        These are probes, and at most ``limit`` calls to usable targets. The last quarter of what the client may hold
        is reserved for targets with no call in flight, so that one slow target does not delay the others.
        """
        self._call_ended = False
        probed = list(islice(self._probe_targets(now), min(MAX_PROBES, allowed)))
        for target in probed:
            self._tripped[target] = now + RECHECK_INTERVAL
            self._tripped.move_to_end(target)
            yield ClaimPlan(1, target=target)
        used, max_used = self.in_flight + len(probed), self.in_flight + allowed
        if used >= max_used or now < self._next_check:
            return
        resting = frozenset(self._tripped)
        unreserved = max_used - max_used // 4 - used
        if unreserved > 0:
            yield ClaimPlan(min(limit, unreserved), resting)
        elif now >= self._next_reserved:
            called = {target for target, breaker in self._breakers.items() if breaker.slots_used}
            # Only one call, since two could be for the same target.
            yield ClaimPlan(1, resting | called, reserved=True)

    def note_claim(self, plan: ClaimPlan, calls: int, now: float) -> None:
        """Note how many calls a claim brought."""
        if plan.target:
            return
        if not plan.reserved:
            self.busy = calls > 0
        elif not calls:
            self._next_reserved = now + RESERVED_INTERVAL
        # A call that ended during the claim freed a slot and a target that the plan could not count on.
        if plan.excluded_targets and not calls and not self._call_ended:
            self._next_check = now + RECHECK_INTERVAL

    def begin(self, target: str, now: float) -> None:
        """Take a slot for a call."""
        self.in_flight += 1
        self._breaker(target).begin(now)

    def end(self, target: str, now: float, failure: SendError | None) -> None:
        """Free the slot; ``failure`` is a failure of the target, not one of this call alone."""
        self.in_flight -= 1
        self._call_ended = True
        breaker = self._breaker(target)
        breaker.end(now, failure)
        self._next_check = 0.0
        if failure is None and target not in self._tripped:
            # It was usable, and a success does not change that.
            return
        if breaker.state(now) is BreakerState.USABLE:
            self._tripped.pop(target, None)
        else:
            self._tripped[target] = 0.0

    def end_rest(self, target: str, now: float) -> None:
        """End the rest of a target, if it is resting: it may be probed now."""
        if target in self._tripped:
            self._breakers[target].end_rest(now)
            self._tripped[target] = 0.0

    def resting(self, now: float) -> Iterator[RestingTarget]:
        """Yield the targets that are not usable."""
        for target in self._tripped:
            one = self._breakers[target].snapshot(now)
            failing_for = self._breakers[target].activity(now).failing_for
            yield RestingTarget(target, one.rest_remaining, failing_for, one.reason)

    def _probe_targets(self, now: float) -> Iterator[str]:
        """Return the targets whose rest is over and that were not probed a moment ago."""
        return (
            target
            for target, probe_at in self._tripped.items()
            if probe_at <= now and self._breakers[target].sends_allowed(now)
        )

    def _breaker(self, target: str) -> Throttle:
        breaker = self._breakers.get(target)
        if breaker is None:
            if len(self._breakers) >= MAX_TARGETS:
                self._drop_unused_breaker()
            breaker = self._breakers[target] = Throttle(concurrency=self._concurrency, per_second=0.0)
        self._breakers.move_to_end(target)
        return breaker

    def _drop_unused_breaker(self) -> None:
        unused = (target for target, breaker in self._breakers.items() if not breaker.slots_used)
        oldest = next(unused, None)
        if oldest is not None:
            del self._breakers[oldest]
            self._tripped.pop(oldest, None)
