"""The circuit breaker, the rate limit and the concurrency limit of one instance.

The throttle only decides: it starts nothing and reads no clock. Every method takes ``now``, in seconds of any clock.
When that clock steps back, the throttle continues from the last time that it got.

A worker reads ``sends_allowed``, claims that many messages, and calls ``begin`` and then ``end`` (or ``release``) for
each::

    usable ──5 failures in a row, or a retry_after──► resting ──time──► probing ──success──► usable
                                                         ▲                 │
                                                         └─────failure─────┘

A failure that concerns one message or one content does not count: the mails of one client must not stop those of
another. But an instance also rests when it has refused five different contents since its last success. Where several
clients use it, these contents must belong to more than one client.
"""

import math
from enum import StrEnum
from random import Random, SystemRandom
from typing import NamedTuple

import msgspec

from gatepost.errors import Rejected, SendError, Unavailable
from gatepost.send_rate import SendRate

FAILURE_THRESHOLD = 5
"""Failures in a row after which an instance rests; also the number of different refused contents."""
FIRST_REST = 1.0
"""Seconds that the first rest takes at most; each further rest may take twice as long as the one before."""
MAX_REST = 300.0
"""Seconds that a rest takes at most, unless the provider asked for more."""
MIN_RETRY_AFTER, MAX_RETRY_AFTER = 1.0, 3600.0
"""Seconds; a ``retry_after`` of a provider outside of these limits is replaced by the nearer limit."""
CLAIM_AHEAD = 0.1
"""Seconds before their turn at which sends may be claimed, so that the time of a claim does not lower the rate."""

# Far above the error of a float that counts seconds, far below the interval between two turns.
_EPSILON = 1e-6
# Seconds. A larger step back means that the clock was set back; a smaller one means that two times were read in one
# order and given to the throttle in the other.
_STEP_BACK = 1.0


class BreakerState(StrEnum):
    """The state of a circuit breaker: whether messages are handed to the instance."""

    USABLE = "usable"
    RESTING = "resting"
    PROBING = "probing"
    """The rest is over; a single send will show whether the instance works again."""


class BreakerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a breaker at one moment, for operators."""

    state: BreakerState
    rest_remaining: float
    """Seconds until the rest is over; 0 where the instance does not rest."""
    misconfigured: bool
    """Whether only the operator can fix the cause of the last failure."""
    reason: str
    """The reason of the last failure; empty after a success."""


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance did lately, for operators."""

    per_minute: float
    """Sends that ended in the last minute."""
    since_success: float | None
    """Seconds since it took a message; None where it took none since the start."""
    failing_for: float
    """Seconds since it began to rest, with no success since then; 0 where it works."""


class ContentKey(NamedTuple):
    """A key that is equal for messages of the same content."""

    client: str
    digest: int


UNKNOWN_CONTENT = ContentKey("", 0)
"""The key for sends whose content does not matter, such as callbacks."""


class Throttle:
    """The limits of one instance, or of one callback target: when it may send, and how many messages at once.

    One class in spite of its many methods: the three limits share the slots and the clock.
    """

    def __init__(
        self, *, concurrency: int, per_second: float, clients: int = 1, random: Random | None = None
    ) -> None:
        """Take the limits; ``per_second`` 0 means no rate limit.

        ``clients`` is the number of clients whose messages the instance may send. ``random`` spreads the rests of
        several processes.
        """
        self._concurrency = concurrency
        self.clients = clients
        self._interval = 1 / per_second if per_second else 0.0
        self._random = random or SystemRandom()
        self._used = 0
        self._next_turn = -math.inf
        self._deferred_until = -math.inf
        self._failures = 0
        self._rests_in_a_row = 0
        self._tripped = False
        self._probing = False
        self._rest_requested = False
        self._rest_until = -math.inf
        self._last_failure: SendError | None = None
        self._refused: set[ContentKey] = set()
        self._last_now = -math.inf
        self._shift = 0.0
        self._rate = SendRate()
        self._success_at: float | None = None
        self._tripped_at = 0.0

    @property
    def slots_used(self) -> int:
        """Number of sends that have begun and not ended."""
        return self._used

    def sends_allowed(self, now: float) -> int:
        """Return how many sends may be claimed now; at most one, the probe, after a rest."""
        at = self._clock(now)
        slots = max(0, self._concurrency - self._used)
        if self._tripped:
            slots = min(slots, 1) if at + _EPSILON >= self._rest_until and self._used == 0 else 0
        if at + _EPSILON < self._deferred_until:
            return 0
        if not self._interval:
            return slots
        ahead = at + CLAIM_AHEAD + _EPSILON - max(self._next_turn, at)
        return min(slots, int(ahead / self._interval) + 1) if ahead >= 0 else 0

    def defer(self, now: float, seconds: float) -> None:
        """Allow no sends for this long: the turns of the instance are shared with other processes, and none is left."""
        self._deferred_until = self._clock(now) + seconds

    def begin(self, now: float) -> float:
        """Take a slot and the next turn; return the seconds to wait until that turn."""
        at = self._clock(now)
        # A probe is alone, so that its outcome can't be taken for that of an older send.
        if self._tripped and at >= self._rest_until and self._used == 0:
            self._probing = True
        self._used += 1
        return self.take_turn(now)

    def take_turn(self, now: float) -> float:
        """Take the next turn for a send that has a slot; return the seconds to wait until that turn."""
        at = self._clock(now)
        turn = max(self._next_turn, at)
        self._next_turn = turn + self._interval
        return turn - at

    def keep_slot(self) -> None:
        """Take back the slot that ``end`` has just freed, for a repeat of that send. No send of its own begins."""
        self._used += 1

    def end(self, now: float, failure: SendError | None, content: ContentKey = UNKNOWN_CONTENT) -> None:
        """Free the slot of a send and learn from its outcome; ``failure`` None means a Receipt.

        Rejected shows that the instance works. A failure that concerns one message or one content has only two
        effects: it counts as the answer to a probe, and ``snapshot`` shows a misconfiguration.
        """
        at = self._clock(now)
        was_probe = self._free_slot()
        self._rate.add(at)
        if failure is None:
            self._success_at = at
        if self._concerns_message_only(failure, content):
            if was_probe:
                self._note_answer(at)
            if isinstance(failure, Unavailable) and failure.misconfigured:
                self._last_failure = failure
            return
        if failure is None or isinstance(failure, Rejected):
            self._note_answer(at)
            return
        self._last_failure = failure
        retry_after = failure.retry_after if isinstance(failure, Unavailable) else None
        if retry_after is not None:
            self._rest_as_requested(at, retry_after, was_probe=was_probe)
        elif was_probe:
            self._rest(at)
        elif not self._tripped:
            self._failures += 1
            if self._failures >= FAILURE_THRESHOLD:
                self._rest(at)

    def release(self) -> None:
        """Free the slot that ``begin`` took for a send that was not made; nothing is learnt from it."""
        self._free_slot()

    def end_rest(self, now: float) -> None:
        """End a rest at once: the next send is a probe."""
        self._rest_until = min(self._rest_until, self._clock(now))

    def rest_remaining(self, now: float) -> float:
        """Return the seconds until the rest is over; 0 where the instance does not rest."""
        return max(0.0, self._rest_until - self._clock(now))

    def next_allowed_in(self, now: float) -> float | None:
        """Return the seconds until ``sends_allowed`` may exceed 0; None where that takes the end of a send."""
        at = self._clock(now)
        if self._used >= self._concurrency or (self._tripped and self._used):
            return None
        return max(0.0, self._next_turn - CLAIM_AHEAD - at, self._deferred_until - at, self._rest_until - at)

    def snapshot(self, now: float) -> BreakerSnapshot:
        """Return the state of the breaker now."""
        return BreakerSnapshot(
            state=self.state(now),
            rest_remaining=self.rest_remaining(now),
            misconfigured=isinstance(self._last_failure, Unavailable) and self._last_failure.misconfigured,
            reason=self._last_failure.reason if self._last_failure else "",
        )

    def activity(self, now: float) -> Activity:
        """Return what the instance did lately."""
        at = self._clock(now)
        return Activity(
            per_minute=self._rate.per_minute(at),
            since_success=None if self._success_at is None else at - self._success_at,
            failing_for=at - self._tripped_at if self._tripped else 0.0,
        )

    def state(self, now: float) -> BreakerState:
        """Return whether the instance is usable, rests or has to be probed."""
        if self._rest_until > self._clock(now):
            return BreakerState.RESTING
        return BreakerState.PROBING if self._tripped else BreakerState.USABLE

    def _concerns_message_only(self, failure: SendError | None, content: ContentKey) -> bool:
        """Return whether the outcome says nothing about the instance; remember a content that was refused."""
        if failure is None:
            self._refused.clear()
        if not isinstance(failure, Unavailable):
            return False
        if not failure.content_only or failure.message_only:
            return failure.message_only
        other_client = all(key.client != content.client for key in self._refused)
        if len(self._refused) < FAILURE_THRESHOLD or other_client:
            self._refused.add(content)
        # Refused contents of a single client do not show how the instance treats the messages of the others.
        one_client = self.clients > 1 and len({key.client for key in self._refused}) == 1
        if len(self._refused) < FAILURE_THRESHOLD or one_client:
            return True
        # The refusals before this one were not counted as failures.
        self._failures = FAILURE_THRESHOLD
        return False

    def _note_answer(self, at: float) -> None:
        self._last_failure = None
        self._failures = 0
        if at >= self._rest_until:
            self._tripped = False
            self._rests_in_a_row = 0

    def _free_slot(self) -> bool:
        """Free a slot; return whether it was that of the probe."""
        was_probe = self._probing
        self._probing = False
        self._used = max(0, self._used - 1)
        return was_probe

    def _rest(self, at: float) -> None:
        limit = min(MAX_REST, FIRST_REST * 2.0 ** min(self._rests_in_a_row, 16))
        self._rests_in_a_row += 1
        self._rest_for(at, self._random.uniform(0.0, limit), requested=False)

    def _rest_as_requested(self, at: float, seconds: float, *, was_probe: bool) -> None:
        # Only the first request of a rest counts: other sends in flight get the same answer, each a little later.
        if self._tripped and self._rest_requested and not was_probe:
            return
        bounded = min(max(seconds, MIN_RETRY_AFTER), MAX_RETRY_AFTER)
        self._rest_for(at, max(bounded, self._rest_until - at), requested=True)

    def _rest_for(self, at: float, seconds: float, *, requested: bool) -> None:
        if not self._tripped:
            self._tripped_at = at
        self._tripped = True
        self._rest_requested = requested
        self._rest_until = at + seconds

    def _clock(self, now: float) -> float:
        """Return ``now`` on a clock of the throttle's own that never runs backwards."""
        if now < self._last_now - _STEP_BACK:
            self._shift += self._last_now - now
            self._last_now = now
        elif now > self._last_now:
            self._last_now = now
        return self._last_now + self._shift
