"""Which callbacks may begin: a breaker for each target of each client, and a share of the slots for each client.

A target is ``host:port``. No client's dead or slow targets may cost another client a call, so nothing here is
shared by two clients but the number of free slots.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from gatepost.errors import SendError
from gatepost.throttle import BreakerState, Throttle

SHARE = 3
"""How many slots a client may hold for each one that is free: alone three quarters, of two each three sevenths."""

MAX_TARGETS = 1_000
"""Breakers kept of one client; the one that was used longest ago goes first."""

PROBES = 4
"""Targets of one client that are asked for a probe at once: each is a question of its own to the store."""

LOOK_AGAIN = 1.0
"""Seconds after which a client is looked at again that has resting targets and had no call for any other. To
pass over all calls that wait for the resting ones takes the store the longer the more there are."""


def room(in_flight: int, free: int, without: int = 0) -> int:
    """How many more calls a client may begin, which holds ``in_flight`` slots while ``free`` are left.

    For each of the ``without`` other clients that hold none a slot is left, and a client that holds none may
    take the last.
    """
    more = (SHARE * (free - without) - in_flight) // (1 + SHARE)
    return min(free, max(more, 0 if in_flight else 1))


class Ask(NamedTuple):
    """Which calls to claim for a client."""

    most: int
    resting: frozenset[str] = frozenset()
    """None to these targets."""
    only: str = ""
    """To this target alone: a probe."""
    reserved: bool = False
    """To a target with no call under way, out of the last quarter."""


class ClientSlots:
    """One client's calls under way, and the breakers of its targets."""

    def __init__(self, concurrency: int) -> None:
        """``concurrency``: calls to one target at once, at the most."""
        self._concurrency = concurrency
        self._breakers: OrderedDict[str, Throttle] = OrderedDict()
        self._tripped: OrderedDict[str, float] = OrderedDict()
        self.in_flight = 0
        """Calls under way."""
        self._look_at = 0.0
        self._ended = False
        """Whether a call has ended since the client was last asked for: then there may be more to claim."""
        self.busy = False
        """Whether the last claim for this client brought anything."""

    def asks(self, now: float, most: int, share: int) -> Iterator[Ask]:
        """What to claim now, together for no more than ``share`` calls.

        Probes, and at most ``most`` calls to targets that are well. The last quarter of what the client may
        hold is for targets with no call under way: one slow target keeps no other waiting.
        """
        self._ended = False
        probed = list(islice(self._ready(now), min(PROBES, share)))
        for target in probed:
            self._tripped[target] = now + LOOK_AGAIN
            self._tripped.move_to_end(target)
            yield Ask(1, only=target)
        used, limit = self.in_flight + len(probed), self.in_flight + share
        if used >= limit or now < self._look_at:
            return
        resting = frozenset(self._tripped)
        for_any = limit - limit // 4 - used
        if for_any > 0:
            yield Ask(min(most, for_any), resting)
        else:
            callback_result = {target for target, breaker in self._breakers.items() if breaker.slots_used}
            # One, for two might be for the same target.
            yield Ask(1, resting | callback_result, reserved=True)

    def claimed(self, ask: Ask, count: int, now: float) -> None:
        """Note how many calls an Ask brought."""
        if ask.only:
            return
        if not ask.reserved:
            self.busy = count > 0
        # What ends while the claim is under way frees slots and targets that it could not count on.
        if ask.resting and not count and not self._ended:
            self._look_at = now + LOOK_AGAIN

    def begin(self, target: str, now: float) -> None:
        """Take a slot for a call."""
        self.in_flight += 1
        self._breaker(target).begin(now)

    def end(self, target: str, now: float, failure: SendError | None) -> None:
        """Free the slot; ``failure`` says that the target is ill, and not merely this call."""
        self.in_flight -= 1
        self._ended = True
        breaker = self._breaker(target)
        breaker.end(now, failure)
        if breaker.describe(now).state is BreakerState.USABLE:
            self._tripped.pop(target, None)
        else:
            self._tripped[target] = 0.0
        self._look_at = 0.0

    def wake(self, target: str, now: float) -> None:
        """End the target's rest, if it has one: it may be probed now."""
        if target in self._tripped:
            self._breakers[target].wake(now)
            self._tripped[target] = 0.0

    def _ready(self, now: float) -> Iterator[str]:
        """Targets whose rest is over and that were not asked for a probe just now."""
        return (
            target
            for target, look_at in self._tripped.items()
            if look_at <= now and self._breakers[target].free(now)
        )

    def _breaker(self, target: str) -> Throttle:
        breaker = self._breakers.get(target)
        if breaker is None:
            if len(self._breakers) >= MAX_TARGETS:
                self._forget_one()
            breaker = self._breakers[target] = Throttle(concurrency=self._concurrency, per_second=0.0)
        self._breakers.move_to_end(target)
        return breaker

    def _forget_one(self) -> None:
        unused = (target for target, breaker in self._breakers.items() if not breaker.slots_used)
        oldest = next(unused, None)
        if oldest is not None:
            del self._breakers[oldest]
            self._tripped.pop(oldest, None)
