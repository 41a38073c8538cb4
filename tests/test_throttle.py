import heapq
import itertools
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gatepost import throttle
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.throttle import BreakerState, ContentKey, Throttle


class Longest(Random):
    """Full jitter at its upper end, so that the ceilings show."""

    def uniform(self, a, b):
        return b


def make(concurrency=16, per_second=0.0):
    return Throttle(concurrency=concurrency, per_second=per_second, random=Longest())


def trip(it, now=0.0, error=None):
    for _ in range(throttle.FAILURE_THRESHOLD):
        it.begin(now)
        it.end(now, error or Unavailable("down"))


def probe(it, now, outcome):
    assert it.sends_allowed(now) == 1
    it.begin(now)
    assert it.sends_allowed(now) == 0
    it.end(now, outcome)


def test_a_burst_leaves_evenly_and_nothing_is_refused():
    it = make(concurrency=20, per_second=30)
    waiting, now, flying, turns = 1_000, 0.0, [], []
    while waiting or flying:
        while flying and flying[0] <= now:
            heapq.heappop(flying)
            it.end(now, None)
        for _ in range(min(waiting, it.sends_allowed(now))):
            turns.append(now + it.begin(now))
            heapq.heappush(flying, turns[-1] + 0.2)
            waiting -= 1
        wake = it.next_allowed_in(now) if waiting else None
        ends = flying[0] if flying else math.inf
        now = min(ends, math.inf if wake is None else now + wake)
    assert len(turns) == 1_000
    assert [b - a for a, b in itertools.pairwise(turns)] == pytest.approx([1 / 30] * 999)


def test_claims_reach_no_further_ahead_than_the_next_turns():
    it = make(concurrency=1_000, per_second=30)
    assert it.sends_allowed(0.0) == 4
    assert make(concurrency=1_000, per_second=1).sends_allowed(0.0) == 1
    assert make(concurrency=1_000).sends_allowed(0.0) == 1_000


def test_after_idling_there_is_no_burst():
    it = make(per_second=10)
    it.begin(0.0)
    it.release()
    assert [it.begin(60.0), it.begin(60.0)] == pytest.approx([0.0, 0.1])


def test_begin_says_how_long_to_wait_for_the_turn():
    it = make(concurrency=9, per_second=2)
    assert [it.begin(5.0) for _ in range(3)] == pytest.approx([0.0, 0.5, 1.0])
    assert it.sends_allowed(5.0) == 0
    assert it.next_allowed_in(5.0) == pytest.approx(1.4)
    assert it.sends_allowed(5.0 + 1.4) == 1


def test_full_slots_wait_for_an_end_and_not_for_time():
    it = make(concurrency=1)
    it.begin(0.0)
    assert (it.sends_allowed(0.0), it.next_allowed_in(0.0), it.slots_used) == (0, None, 1)
    it.end(0.0, None)
    assert (it.sends_allowed(0.0), it.next_allowed_in(0.0), it.slots_used) == (1, 0.0, 0)


@pytest.mark.parametrize("error", [Unavailable("down"), Uncertain("lost")])
def test_failures_in_a_row_make_it_rest(error):
    it = make()
    trip(it, 0.0, error)
    assert it.sends_allowed(0.0) == 0
    assert it.rest_remaining(0.0) == it.next_allowed_in(0.0) == 1.0
    assert it.snapshot(0.5).state is BreakerState.RESTING
    assert it.snapshot(1.0).state is BreakerState.PROBING


@pytest.mark.parametrize("healthy", [None, Rejected("no such mailbox")])
def test_bad_recipients_and_successes_end_the_row(healthy):
    it = make()
    for _ in range(20):
        for outcome in [*[Unavailable("down")] * (throttle.FAILURE_THRESHOLD - 1), healthy]:
            it.begin(0.0)
            it.end(0.0, outcome)
    assert it.rest_remaining(0.0) == 0
    assert it.snapshot(0.0).reason == ""


def test_what_concerns_one_message_only_changes_nothing():
    it, greylisted = make(), Unavailable("greylisted", message_only=True, retry_after=60.0)
    for _ in range(throttle.FAILURE_THRESHOLD - 1):
        it.begin(0.0)
        it.end(0.0, Unavailable("wrong key", misconfigured=True))
        it.begin(0.0)
        it.end(0.0, greylisted)
    assert it.snapshot(0.0) == throttle.BreakerSnapshot(
        state=BreakerState.USABLE, rest_remaining=0.0, misconfigured=True, reason="wrong key"
    )
    it.begin(0.0)
    it.begin(0.0)
    it.end(0.0, Unavailable("down"))
    assert it.rest_remaining(0.0) == 1.0
    it.end(5.0, greylisted)
    assert it.slots_used == 0
    assert it.snapshot(5.0).state is BreakerState.PROBING


def test_a_probe_that_was_answered_for_its_one_message_shows_that_it_is_awake():
    it = make()
    trip(it)
    probe(it, 1.0, Unavailable("greylisted", message_only=True))
    assert it.sends_allowed(1.0) == 16
    assert it.snapshot(1.0) == throttle.BreakerSnapshot(
        state=BreakerState.USABLE, rest_remaining=0.0, misconfigured=False, reason=""
    )


SUSPICIOUS = Unavailable("suspicious", content_only=True, retry_after=60.0)


def refuse(it, *contents, error=SUSPICIOUS):
    for content in contents:
        it.begin(0.0)
        it.end(0.0, error, content if isinstance(content, ContentKey) else ContentKey("brand", content))


def test_one_content_that_is_refused_changes_nothing_however_often():
    it = make()
    refuse(it, *[1] * 30, *[2] * 30)
    assert it.snapshot(0.0) == throttle.BreakerSnapshot(
        state=BreakerState.USABLE, rest_remaining=0.0, misconfigured=False, reason=""
    )
    assert it.sends_allowed(0.0) == 16


def test_as_many_contents_as_failures_make_it_rest():
    it = make()
    refuse(
        it, *range(throttle.FAILURE_THRESHOLD - 1), 0, 0, error=Unavailable("suspicious", content_only=True)
    )
    assert it.snapshot(0.0).state is BreakerState.USABLE
    refuse(it, throttle.FAILURE_THRESHOLD, error=Unavailable("suspicious", content_only=True))
    assert it.snapshot(0.0) == throttle.BreakerSnapshot(
        state=BreakerState.RESTING, rest_remaining=1.0, misconfigured=False, reason="suspicious"
    )


def test_refused_contents_and_failures_are_counted_apart():
    it = make()
    for content in range(throttle.FAILURE_THRESHOLD - 1):
        refuse(it, content)
        refuse(it, 0, error=Unavailable("down"))
    assert it.snapshot(0.0).state is BreakerState.USABLE


def test_a_success_between_them_ends_the_row_of_contents():
    it = make()
    for content in range(3 * throttle.FAILURE_THRESHOLD):
        refuse(it, content)
        if content % (throttle.FAILURE_THRESHOLD - 1) == 0:
            refuse(it, content, error=None)
    assert it.snapshot(0.0).state is BreakerState.USABLE


def test_contents_of_one_client_among_several_make_nothing_rest():
    it = Throttle(concurrency=16, per_second=0.0, clients=2, random=Longest())
    refuse(it, *range(30))
    assert it.snapshot(0.0).state is BreakerState.USABLE

    refuse(it, ContentKey("other", 1), error=Unavailable("suspicious", content_only=True))
    assert it.snapshot(0.0).state is BreakerState.RESTING


def test_a_content_that_only_the_operator_can_mend_is_told_and_nothing_rests():
    it = make()
    refuse(it, 1, error=Unavailable("the sender is not verified", content_only=True, misconfigured=True))
    told = it.snapshot(0.0)
    assert (told.state, told.misconfigured, told.reason) == (
        BreakerState.USABLE,
        True,
        "the sender is not verified",
    )

    refuse(it, 2, error=None)
    assert not it.snapshot(0.0).misconfigured


def test_a_recipient_is_no_content():
    it = make()
    refuse(it, *range(30), error=Unavailable("greylisted", message_only=True, content_only=True))
    assert it.snapshot(0.0).state is BreakerState.USABLE


def test_a_probe_whose_content_was_refused_shows_that_it_is_awake_unless_all_contents_are():
    it = make()
    trip(it)
    it.begin(1.0)
    it.end(1.0, SUSPICIOUS, ContentKey("brand", 1))
    assert it.snapshot(1.0).state is BreakerState.USABLE

    it = make()
    refuse(it, *range(throttle.FAILURE_THRESHOLD), error=Unavailable("suspicious", content_only=True))
    it.begin(1.0)
    it.end(1.0, Unavailable("suspicious", content_only=True), ContentKey("brand", 1))
    assert it.rest_remaining(1.0) == 2.0


def test_an_operator_ends_a_rest_and_a_probe_follows():
    it = make()
    it.end_rest(0.0)
    trip(it, 0.0, Unavailable("down", retry_after=600.0))
    assert it.rest_remaining(0.0) == 600.0
    it.end_rest(0.0)
    assert it.snapshot(0.0).state is BreakerState.PROBING
    probe(it, 0.0, None)
    assert it.snapshot(0.0).state is BreakerState.USABLE


def test_rests_double_up_to_five_minutes_and_a_success_forgets_them():
    it, now, rests = make(), 0.0, []
    trip(it)
    for _ in range(11):
        rests.append(it.rest_remaining(now))
        now += rests[-1]
        probe(it, now, Unavailable("still down"))
    assert rests == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
    now += it.rest_remaining(now)
    probe(it, now, Rejected("no such mailbox"))
    assert it.sends_allowed(now) == 16
    assert it.snapshot(now).state is BreakerState.USABLE
    trip(it, now)
    assert it.rest_remaining(now) == pytest.approx(1)


def test_rests_are_spread():
    class Seeded(Random):
        pass

    rests = set()
    for seed in range(20):
        it = Throttle(concurrency=1, per_second=0, random=Seeded(seed))
        trip(it)
        rests.add(it.rest_remaining(0.0))
    assert len(rests) == 20
    assert all(0 <= rest <= 1 for rest in rests)


@pytest.mark.parametrize(("wish", "rest"), [(0.0, 1.0), (-5.0, 1.0), (30.0, 30.0), (1e9, 3600.0)])
def test_a_providers_wish_rests_the_instance_at_once_within_bounds(wish, rest):
    it = make()
    it.begin(0.0)
    it.end(0.0, Unavailable("slow down", retry_after=wish))
    assert it.rest_remaining(0.0) == rest
    probe(it, rest, None)
    assert it.sends_allowed(rest) == 16


def test_sends_under_way_neither_lengthen_a_rest_nor_double_the_next():
    it = make()
    for _ in range(16):
        it.begin(0.0)
    for _ in range(16):
        it.end(0.5, Unavailable("down"))
    assert it.rest_remaining(0.5) == 1.0
    probe(it, 1.5, Unavailable("down"))
    assert it.rest_remaining(1.5) == 2.0


def test_a_wish_replaces_a_guess_once():
    it = make()
    for _ in range(8):
        it.begin(0.0)
    for at in range(3):
        it.end(float(at), Unavailable("slow down", retry_after=10.0))
    assert it.rest_remaining(0.0 + 2) == 8.0
    other = make()
    for _ in range(7):
        other.begin(0.0)
    for _ in range(5):
        other.end(0.0, Unavailable("down"))
    other.end(0.0, Unavailable("slow down", retry_after=60.0))
    other.end(0.0, Unavailable("down"))
    assert other.rest_remaining(0.0) == 60.0


def test_the_probe_is_alone():
    it = make()
    for _ in range(6):
        it.begin(0.0)
    for _ in range(5):
        it.end(0.0, Unavailable("down"))
    assert (it.sends_allowed(2.0), it.next_allowed_in(2.0)) == (0, None)
    it.end(2.0, Unavailable("down"))
    assert it.rest_remaining(2.0) == 0
    probe(it, 2.0, None)
    assert it.sends_allowed(2.0) == 16


def test_a_success_of_an_older_send_does_not_cut_a_rest_short():
    it = make()
    it.begin(0.0)
    it.begin(0.0)
    it.end(0.0, Unavailable("slow down", retry_after=30.0))
    it.end(1.0, None)
    assert it.rest_remaining(1.0) == 29.0
    assert it.sends_allowed(1.0) == 0


def test_a_send_claimed_before_the_rest_is_no_probe():
    it = make()
    for _ in range(6):
        it.begin(0.0)
    for _ in range(5):
        it.end(0.0, Unavailable("down"))
    it.begin(2.0)
    it.end(2.0, Unavailable("down"))
    assert it.rest_remaining(2.0) == 0


def test_a_wish_does_not_cut_a_rest_short():
    it = make()
    trip(it)
    it.begin(1.0)
    it.begin(1.0)
    it.end(1.0, Unavailable("down"))
    it.end(1.0, Unavailable("slow down", retry_after=1.0))
    assert it.rest_remaining(1.0) == 2.0


def test_a_send_that_was_never_made_proves_nothing():
    it = make()
    trip(it)
    it.begin(1.0)
    it.release()
    assert it.slots_used == 0
    assert it.snapshot(1.0).state is BreakerState.PROBING
    probe(it, 1.0, None)


def test_what_only_the_operator_can_mend_is_told():
    it = make()
    it.begin(0.0)
    it.end(0.0, Unavailable("wrong key", misconfigured=True))
    assert it.snapshot(0.0) == throttle.BreakerSnapshot(
        state=BreakerState.USABLE, rest_remaining=0.0, misconfigured=True, reason="wrong key"
    )
    it.begin(0.0)
    it.end(0.0, None)
    assert not it.snapshot(0.0).misconfigured


def test_a_clock_that_steps_back_strands_nothing():
    it = make(per_second=10)
    it.begin(1_000_000.0)
    it.release()
    trip(it, 1_000_000.0)
    rest = it.rest_remaining(1_000_000.0)
    assert it.rest_remaining(5.0) == pytest.approx(rest)
    assert it.sends_allowed(5.0 + rest) == 1
    assert it.begin(5.0 + rest) == 0.0


class Sends(RuleBasedStateMachine):
    """Callers that heed `free` against a clock that now and then steps back."""

    def __init__(self):
        super().__init__()
        self.concurrency, self.rate = 3, 7.0
        self.throttle = Throttle(concurrency=self.concurrency, per_second=self.rate, random=Random(1))
        self.now = self.elapsed = 100.0
        self.flying = 0
        self.turns = []

    @rule(seconds=st.floats(0, 5))
    def passes(self, seconds):
        self.now += seconds
        self.elapsed += seconds

    @rule(seconds=st.floats(1.5, 90))
    def steps_back(self, seconds):
        self.now -= seconds
        self.throttle.rest_remaining(self.now)

    @rule()
    def sends(self):
        for _ in range(self.throttle.sends_allowed(self.now)):
            self.turns.append(self.elapsed + self.throttle.begin(self.now))
            self.flying += 1

    @precondition(lambda self: self.flying)
    @rule(
        outcome=st.sampled_from(
            [
                None,
                Rejected("x"),
                Unavailable("x"),
                Uncertain("x"),
                Unavailable("x", retry_after=4),
                Unavailable("x", message_only=True),
                Unavailable("x", content_only=True),
            ]
        )
    )
    def ends(self, outcome):
        self.throttle.end(self.now, outcome)
        self.flying -= 1

    @precondition(lambda self: self.flying)
    @rule()
    def never_made(self):
        self.throttle.release()
        self.flying -= 1

    @invariant()
    def slots_hold(self):
        assert self.flying == self.throttle.slots_used <= self.concurrency

    @invariant()
    def rate_holds(self):
        for first in range(len(self.turns)):
            for last in range(first, len(self.turns)):
                window = self.turns[last] - self.turns[first]
                assert last - first + 1 <= math.ceil(self.rate * window - 1e-6) + 1

    @invariant()
    def never_stranded(self):
        wake = self.throttle.next_allowed_in(self.now)
        assert wake is not None or self.flying
        if wake is not None:
            self.now += wake
            self.elapsed += wake
            assert self.throttle.sends_allowed(self.now) > 0


TestSends = Sends.TestCase


@given(st.floats(0.01, 500), st.integers(1, 50), st.floats(0, 1e9))
def test_waking_when_told_always_finds_something_free(per_second, count, start):
    it = Throttle(concurrency=100, per_second=per_second, random=Random(1))
    for _ in range(count):
        it.begin(start)
    wake = it.next_allowed_in(start)
    assert wake is not None
    assert it.sends_allowed(start + wake) > 0
