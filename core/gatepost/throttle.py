"""Breaker, rate and concurrency of one instance. Decisions only: every call is told what time it is.

``now`` is in seconds, of any clock. A clock that steps back costs nothing but the time it stepped.

A sender asks ``free``, claims that many, and says ``begin`` and ``end`` (or ``release``) for each::

    awake ──5 failures in a row, or a retry_after──► resting ──time──► probing ──success──► awake
                                                        ▲                 │
                                                        └─────failure─────┘

What concerns one message, or one content, is no failure: one client's mails must not cost another's. But when
five different contents were refused since the last success, and not those of one client alone where there are
several, the instance refuses them all.
"""

import math
from enum import StrEnum
from random import Random, SystemRandom
from typing import NamedTuple

import msgspec

from gatepost.errors import Rejected, SendError, Unavailable

TRIP = 5
"""Failures in a row after which an instance rests; and as many different contents."""
FIRST_REST = 1.0
LONGEST_REST = 300.0
SHORTEST_WISH, LONGEST_WISH = 1.0, 3600.0
"""Seconds between which a provider's own ``retry_after`` is believed."""
LOOKAHEAD = 0.1
"""Seconds before their turn at which sends may be claimed: a claim must not cost the rate anything."""

# Far above the error of a float that counts seconds, far below anything that a turn could be.
_EPSILON = 1e-6
# A step back as large as this is the clock's; a smaller one is two callers that read it in another order.
_STEP_BACK = 1.0


class BreakerState(StrEnum):
    """Whether an instance is being asked."""

    USABLE = "usable"
    RESTING = "resting"
    PROBING = "probing"
    """Its rest is over; a single send is to show whether it works again."""


class BreakerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What ``describe`` tells an operator."""

    state: BreakerState
    rests: float
    """Seconds that the rest still takes."""
    misconfigured: bool
    """The last failure was one that only the operator can mend."""
    reason: str
    """The last failure's; empty when a send went well since."""


class Content(NamedTuple):
    """What tells the content of one message from that of another."""

    client: str
    key: int


NO_CONTENT = Content("", 0)


class Throttle:
    """When one instance may be asked, and how often."""

    def __init__(
        self, *, concurrency: int, per_second: float, clients: int = 1, random: Random | None = None
    ) -> None:
        """``per_second`` 0 is unlimited; ``random`` spreads the rests of several processes.

        ``clients``: how many there are whose messages it may send.
        """
        self._concurrency = concurrency
        self._several_clients = clients > 1
        self._interval = 1 / per_second if per_second else 0.0
        self._random = random or SystemRandom()
        self._used = 0
        self._turn = -math.inf
        self._failures = 0
        self._rests_had = 0
        self._tripped = False
        self._probing = False
        self._wished = False
        self._rest_until = -math.inf
        self._last: SendError | None = None
        self._refused: set[Content] = set()
        self._seen = -math.inf
        self._shift = 0.0

    @property
    def slots_used(self) -> int:
        """Sends begun and not ended."""
        return self._used

    def free(self, now: float) -> int:
        """How many sends may be claimed now; at most one where a rest is over and must be proved so."""
        return self._free(self._clock(now))

    def begin(self, now: float) -> float:
        """Take a slot and the next turn; returns the seconds to wait until that turn."""
        at = self._clock(now)
        # A probe is alone, so that its outcome can't be taken for that of an older send.
        if self._tripped and at >= self._rest_until and self._used == 0:
            self._probing = True
        self._used += 1
        turn = max(self._turn, at)
        self._turn = turn + self._interval
        return turn - at

    def end(self, now: float, outcome: SendError | None, content: Content = NO_CONTENT) -> None:
        """Free the slot of a send and learn from its outcome; None is a Receipt.

        Rejected is healthy. What concerns one message or one content changes nothing, except that a probe was
        answered, and that ``describe`` tells what only the operator can mend.
        """
        at = self._clock(now)
        probed = self._release()
        if self._is_no_failure(outcome, content):
            if probed:
                self._answered(at)
            if isinstance(outcome, Unavailable) and outcome.misconfigured:
                self._last = outcome
            return
        if outcome is None or isinstance(outcome, Rejected):
            self._answered(at)
            return
        self._last = outcome
        wish = outcome.retry_after if isinstance(outcome, Unavailable) else None
        if wish is not None:
            self._rest_as_wished(at, wish, probed=probed)
        elif probed:
            self._rest(at)
        elif not self._tripped:
            self._failures += 1
            if self._failures >= TRIP:
                self._rest(at)

    def release(self) -> None:
        """Free the slot of a send that was begun and never made; it says nothing about the instance."""
        self._release()

    def wake(self, now: float) -> None:
        """End a rest: the next send shows whether the instance works again."""
        self._rest_until = min(self._rest_until, self._clock(now))

    def rests(self, now: float) -> float:
        """Seconds until the instance may be asked again; 0 when it may."""
        return max(0.0, self._rest_until - self._clock(now))

    def wake_in(self, now: float) -> float | None:
        """Seconds until ``free`` may say more than 0; None when only an ``end`` can bring that about."""
        at = self._clock(now)
        if self._used >= self._concurrency or (self._tripped and self._used):
            return None
        return max(0.0, self._turn - LOOKAHEAD - at, self._rest_until - at)

    def describe(self, now: float) -> BreakerSnapshot:
        """The state for ``/health/ready``."""
        rests = self.rests(now)
        state = (
            BreakerState.RESTING if rests else BreakerState.PROBING if self._tripped else BreakerState.USABLE
        )
        return BreakerSnapshot(
            state=state,
            rests=rests,
            misconfigured=isinstance(self._last, Unavailable) and self._last.misconfigured,
            reason=self._last.reason if self._last else "",
        )

    def _free(self, at: float) -> int:
        slots = max(0, self._concurrency - self._used)
        if self._tripped:
            slots = min(slots, 1) if at + _EPSILON >= self._rest_until and self._used == 0 else 0
        if not self._interval:
            return slots
        ahead = at + LOOKAHEAD + _EPSILON - max(self._turn, at)
        return min(slots, int(ahead / self._interval) + 1) if ahead >= 0 else 0

    def _is_no_failure(self, outcome: SendError | None, content: Content) -> bool:
        """Whether this says nothing about the instance, and takes note of a content that was refused."""
        if outcome is None:
            self._refused.clear()
        if not isinstance(outcome, Unavailable):
            return False
        if not outcome.content_only or outcome.message_only:
            return outcome.message_only
        of_others = all(one.client != content.client for one in self._refused)
        if len(self._refused) < TRIP or of_others:
            self._refused.add(content)
        # Of one client alone they say nothing about what the instance does with the others' messages.
        alone = self._several_clients and len({one.client for one in self._refused}) == 1
        if len(self._refused) < TRIP or alone:
            return True
        # The others of the row were let pass.
        self._failures = TRIP
        return False

    def _answered(self, at: float) -> None:
        self._last = None
        self._failures = 0
        if at >= self._rest_until:
            self._tripped = False
            self._rests_had = 0

    def _release(self) -> bool:
        """Free a slot; returns whether it was the probe's."""
        probed = self._probing
        self._probing = False
        self._used = max(0, self._used - 1)
        return probed

    def _rest(self, at: float) -> None:
        limit = min(LONGEST_REST, FIRST_REST * 2.0 ** min(self._rests_had, 16))
        self._rests_had += 1
        self._rest_for(at, self._random.uniform(0.0, limit), wished=False)

    def _rest_as_wished(self, at: float, seconds: float, *, probed: bool) -> None:
        # One wish a rest: the sends that were under way hear the same one, each a little later.
        if self._tripped and self._wished and not probed:
            return
        bounded = min(max(seconds, SHORTEST_WISH), LONGEST_WISH)
        self._rest_for(at, max(bounded, self._rest_until - at), wished=True)

    def _rest_for(self, at: float, seconds: float, *, wished: bool) -> None:
        self._tripped = True
        self._wished = wished
        self._rest_until = at + seconds

    def _clock(self, now: float) -> float:
        """``now`` on a clock of our own that never runs backwards."""
        if now < self._seen - _STEP_BACK:
            self._shift += self._seen - now
            self._seen = now
        self._seen = max(self._seen, now)
        return self._seen + self._shift
