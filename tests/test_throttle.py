"""The throttle: rate, concurrency and the circuit breaker of one instance."""

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


class LongestRests(Random):
    """Makes each rest as long as it can be, so that the limits can be seen."""

    def uniform(self, a, b):
        return b


def new_throttle(concurrency=16, per_second=0.0):
    return Throttle(concurrency=concurrency, per_second=per_second, random=LongestRests())


def trip(it, now=0.0, error=None):
    for _ in range(throttle.FAILURE_THRESHOLD):
        it.begin(now)
        it.end(now, error or Unavailable("down"))


def probe(it, now, outcome):
    assert it.sends_allowed(now) == 1
    it.begin(now)
    assert it.sends_allowed(now) == 0
    it.end(now, outcome)


def test_a_burst_is_sent_evenly_at_the_rate_limit():
    it = new_throttle(concurrency=20, per_second=30)
    waiting, now, in_flight, turns = 1_000, 0.0, [], []
    while waiting or in_flight:
        while in_flight and in_flight[0] <= now:
            heapq.heappop(in_flight)
            it.end(now, None)
        for _ in range(min(waiting, it.sends_allowed(now))):
            turns.append(now + it.begin(now))
            heapq.heappush(in_flight, turns[-1] + 0.2)
            waiting -= 1
        wake = it.next_allowed_in(now) if waiting else None
        ends = in_flight[0] if in_flight else math.inf
        now = min(ends, math.inf if wake is None else now + wake)
    assert len(turns) == 1_000
    assert [b - a for a, b in itertools.pairwise(turns)] == pytest.approx([1 / 30] * 999)


def test_only_sends_with_a_turn_soon_may_be_claimed():
    it = new_throttle(concurrency=1_000, per_second=30)
    assert it.sends_allowed(0.0) == 4
    assert new_throttle(concurrency=1_000, per_second=1).sends_allowed(0.0) == 1
    assert new_throttle(concurrency=1_000).sends_allowed(0.0) == 1_000


def test_an_idle_time_allows_no_burst_afterwards():
    it = new_throttle(per_second=10)
    it.begin(0.0)
    it.release()
    assert [it.begin(60.0), it.begin(60.0)] == pytest.approx([0.0, 0.1])


def test_begin_returns_the_wait_until_the_turn():
    it = new_throttle(concurrency=9, per_second=2)
    assert [it.begin(5.0) for _ in range(3)] == pytest.approx([0.0, 0.5, 1.0])
    assert it.sends_allowed(5.0) == 0
    assert it.next_allowed_in(5.0) == pytest.approx(1.4)
    assert it.sends_allowed(5.0 + 1.4) == 1


def test_when_all_slots_are_used_only_an_end_allows_the_next_send():
    it = new_throttle(concurrency=1)
    it.begin(0.0)
    assert (it.sends_allowed(0.0), it.next_allowed_in(0.0), it.slots_used) == (0, None, 1)
    it.end(0.0, None)
    assert (it.sends_allowed(0.0), it.next_allowed_in(0.0), it.slots_used) == (1, 0.0, 0)


@pytest.mark.parametrize("error", [Unavailable("down"), Uncertain("lost")])
def test_failures_in_a_row_start_a_rest(error):
    it = new_throttle()
    trip(it, 0.0, error)
    assert it.sends_allowed(0.0) == 0
    assert it.rest_remaining(0.0) == it.next_allowed_in(0.0) == 1.0
    assert it.snapshot(0.5).state is BreakerState.RESTING
    assert it.snapshot(1.0).state is BreakerState.PROBING


@pytest.mark.parametrize("healthy", [None, Rejected("no such mailbox")])
def test_rejections_and_successes_reset_the_count_of_failures(healthy):
    it = new_throttle()
    for _ in range(20):
        for outcome in [*[Unavailable("down")] * (throttle.FAILURE_THRESHOLD - 1), healthy]:
            it.begin(0.0)
            it.end(0.0, outcome)
    assert it.rest_remaining(0.0) == 0
    assert it.snapshot(0.0).reason == ""


def test_a_failure_of_one_message_changes_nothing():
    it, greylisted = new_throttle(), Unavailable("greylisted", message_only=True, retry_after=60.0)
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


def test_a_probe_that_fails_for_its_message_alone_ends_the_rest():
    it = new_throttle()
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


def test_refusals_of_two_contents_change_nothing_however_often():
    it = new_throttle()
    refuse(it, *[1] * 30, *[2] * 30)
    assert it.snapshot(0.0) == throttle.BreakerSnapshot(
        state=BreakerState.USABLE, rest_remaining=0.0, misconfigured=False, reason=""
    )
    assert it.sends_allowed(0.0) == 16


def test_five_refused_contents_start_a_rest():
    it = new_throttle()
    refuse(
        it, *range(throttle.FAILURE_THRESHOLD - 1), 0, 0, error=Unavailable("suspicious", content_only=True)
    )
    assert it.snapshot(0.0).state is BreakerState.USABLE
    refuse(it, throttle.FAILURE_THRESHOLD, error=Unavailable("suspicious", content_only=True))
    assert it.snapshot(0.0) == throttle.BreakerSnapshot(
        state=BreakerState.RESTING, rest_remaining=1.0, misconfigured=False, reason="suspicious"
    )


def test_refused_contents_and_failures_are_counted_separately():
    it = new_throttle()
    for content in range(throttle.FAILURE_THRESHOLD - 1):
        refuse(it, content)
        refuse(it, 0, error=Unavailable("down"))
    assert it.snapshot(0.0).state is BreakerState.USABLE


def test_a_success_resets_the_count_of_refused_contents():
    it = new_throttle()
    for content in range(3 * throttle.FAILURE_THRESHOLD):
        refuse(it, content)
        if content % (throttle.FAILURE_THRESHOLD - 1) == 0:
            refuse(it, content, error=None)
    assert it.snapshot(0.0).state is BreakerState.USABLE


def test_refused_contents_of_one_client_among_several_start_no_rest():
    it = Throttle(concurrency=16, per_second=0.0, clients=2, random=LongestRests())
    refuse(it, *range(30))
    assert it.snapshot(0.0).state is BreakerState.USABLE

    refuse(it, ContentKey("other", 1), error=Unavailable("suspicious", content_only=True))
    assert it.snapshot(0.0).state is BreakerState.RESTING


def test_a_misconfigured_content_is_shown_and_starts_no_rest():
    it = new_throttle()
    refuse(it, 1, error=Unavailable("the sender is not verified", content_only=True, misconfigured=True))
    snapshot = it.snapshot(0.0)
    assert (snapshot.state, snapshot.misconfigured, snapshot.reason) == (
        BreakerState.USABLE,
        True,
        "the sender is not verified",
    )

    refuse(it, 2, error=None)
    assert not it.snapshot(0.0).misconfigured


def test_a_failure_of_one_recipient_does_not_count_as_a_refused_content():
    it = new_throttle()
    refuse(it, *range(30), error=Unavailable("greylisted", message_only=True, content_only=True))
    assert it.snapshot(0.0).state is BreakerState.USABLE


def test_a_probe_whose_content_is_refused_ends_the_rest_unless_all_contents_are_refused():
    it = new_throttle()
    trip(it)
    it.begin(1.0)
    it.end(1.0, SUSPICIOUS, ContentKey("brand", 1))
    assert it.snapshot(1.0).state is BreakerState.USABLE

    it = new_throttle()
    refuse(it, *range(throttle.FAILURE_THRESHOLD), error=Unavailable("suspicious", content_only=True))
    it.begin(1.0)
    it.end(1.0, Unavailable("suspicious", content_only=True), ContentKey("brand", 1))
    assert it.rest_remaining(1.0) == 2.0


def test_after_end_rest_the_next_send_is_a_probe():
    it = new_throttle()
    it.end_rest(0.0)
    trip(it, 0.0, Unavailable("down", retry_after=600.0))
    assert it.rest_remaining(0.0) == 600.0
    it.end_rest(0.0)
    assert it.snapshot(0.0).state is BreakerState.PROBING
    probe(it, 0.0, None)
    assert it.snapshot(0.0).state is BreakerState.USABLE


def test_rests_double_up_to_five_minutes_until_a_success():
    it, now, rests = new_throttle(), 0.0, []
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


def test_rests_have_random_lengths():
    class Seeded(Random):
        pass

    rests = set()
    for seed in range(20):
        it = Throttle(concurrency=1, per_second=0, random=Seeded(seed))
        trip(it)
        rests.add(it.rest_remaining(0.0))
    assert len(rests) == 20
    assert all(0 <= rest <= 1 for rest in rests)


@pytest.mark.parametrize(("retry_after", "rest"), [(0.0, 1.0), (-5.0, 1.0), (30.0, 30.0), (1e9, 3600.0)])
def test_a_retry_after_starts_a_rest_at_once_within_the_limits(retry_after, rest):
    it = new_throttle()
    it.begin(0.0)
    it.end(0.0, Unavailable("slow down", retry_after=retry_after))
    assert it.rest_remaining(0.0) == rest
    probe(it, rest, None)
    assert it.sends_allowed(rest) == 16


def test_sends_in_flight_neither_lengthen_a_rest_nor_double_the_next():
    it = new_throttle()
    for _ in range(16):
        it.begin(0.0)
    for _ in range(16):
        it.end(0.5, Unavailable("down"))
    assert it.rest_remaining(0.5) == 1.0
    probe(it, 1.5, Unavailable("down"))
    assert it.rest_remaining(1.5) == 2.0


def test_a_retry_after_replaces_the_length_of_a_rest_once():
    it = new_throttle()
    for _ in range(8):
        it.begin(0.0)
    for at in range(3):
        it.end(float(at), Unavailable("slow down", retry_after=10.0))
    assert it.rest_remaining(0.0 + 2) == 8.0
    other = new_throttle()
    for _ in range(7):
        other.begin(0.0)
    for _ in range(5):
        other.end(0.0, Unavailable("down"))
    other.end(0.0, Unavailable("slow down", retry_after=60.0))
    other.end(0.0, Unavailable("down"))
    assert other.rest_remaining(0.0) == 60.0


def test_a_probe_waits_until_no_send_is_in_flight():
    it = new_throttle()
    for _ in range(6):
        it.begin(0.0)
    for _ in range(5):
        it.end(0.0, Unavailable("down"))
    assert (it.sends_allowed(2.0), it.next_allowed_in(2.0)) == (0, None)
    it.end(2.0, Unavailable("down"))
    assert it.rest_remaining(2.0) == 0
    probe(it, 2.0, None)
    assert it.sends_allowed(2.0) == 16


def test_a_success_of_an_older_send_does_not_shorten_a_rest():
    it = new_throttle()
    it.begin(0.0)
    it.begin(0.0)
    it.end(0.0, Unavailable("slow down", retry_after=30.0))
    it.end(1.0, None)
    assert it.rest_remaining(1.0) == 29.0
    assert it.sends_allowed(1.0) == 0


def test_a_send_claimed_before_the_rest_is_not_a_probe():
    it = new_throttle()
    for _ in range(6):
        it.begin(0.0)
    for _ in range(5):
        it.end(0.0, Unavailable("down"))
    it.begin(2.0)
    it.end(2.0, Unavailable("down"))
    assert it.rest_remaining(2.0) == 0


def test_a_retry_after_does_not_shorten_a_rest():
    it = new_throttle()
    trip(it)
    it.begin(1.0)
    it.begin(1.0)
    it.end(1.0, Unavailable("down"))
    it.end(1.0, Unavailable("slow down", retry_after=1.0))
    assert it.rest_remaining(1.0) == 2.0


def test_a_released_send_does_not_end_a_rest():
    it = new_throttle()
    trip(it)
    it.begin(1.0)
    it.release()
    assert it.slots_used == 0
    assert it.snapshot(1.0).state is BreakerState.PROBING
    probe(it, 1.0, None)


def test_a_misconfiguration_is_shown_until_a_success():
    it = new_throttle()
    it.begin(0.0)
    it.end(0.0, Unavailable("wrong key", misconfigured=True))
    assert it.snapshot(0.0) == throttle.BreakerSnapshot(
        state=BreakerState.USABLE, rest_remaining=0.0, misconfigured=True, reason="wrong key"
    )
    it.begin(0.0)
    it.end(0.0, None)
    assert not it.snapshot(0.0).misconfigured


def test_a_clock_that_steps_back_does_not_block_sends():
    it = new_throttle(per_second=10)
    it.begin(1_000_000.0)
    it.release()
    trip(it, 1_000_000.0)
    rest = it.rest_remaining(1_000_000.0)
    assert it.rest_remaining(5.0) == pytest.approx(rest)
    assert it.sends_allowed(5.0 + rest) == 1
    assert it.begin(5.0 + rest) == 0.0


def test_a_kept_slot_is_no_other_sends():
    it = new_throttle(concurrency=2)
    it.begin(0.0)
    it.end(0.0, Uncertain("lost"))
    it.keep_slot()
    assert (it.slots_used, it.sends_allowed(0.0)) == (1, 1)
    it.end(1.0, None)
    assert (it.slots_used, it.sends_allowed(1.0)) == (0, 2)


def test_a_repeat_takes_a_turn_after_those_that_are_taken():
    it = new_throttle(per_second=2.0)
    assert it.begin(0.0) == 0.0
    it.end(0.0, Uncertain("lost"))
    it.keep_slot()
    assert it.begin(0.1) == pytest.approx(0.4)
    assert it.take_turn(0.2) == pytest.approx(0.8)
    assert it.slots_used == 2
    assert it.begin(0.3) == pytest.approx(1.2)


def test_while_a_slot_is_kept_nothing_is_probed_and_an_answer_ends_the_rest():
    it = new_throttle()
    for _ in range(throttle.FAILURE_THRESHOLD):
        it.begin(0.0)
    for _ in range(throttle.FAILURE_THRESHOLD):
        it.end(0.0, Uncertain("lost"))
    it.keep_slot()
    assert it.state(0.0) is BreakerState.RESTING
    assert it.sends_allowed(throttle.FIRST_REST) == 0
    it.end(throttle.FIRST_REST, None)
    assert it.state(throttle.FIRST_REST) is BreakerState.USABLE


class Sends(RuleBasedStateMachine):
    """Sends within the limits of `sends_allowed`, on a clock that sometimes steps back."""

    def __init__(self):
        super().__init__()
        self.concurrency, self.rate = 3, 7.0
        self.throttle = Throttle(concurrency=self.concurrency, per_second=self.rate, random=Random(1))
        self.now = self.elapsed = 100.0
        self.in_flight = 0
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
            self.in_flight += 1

    @precondition(lambda self: self.in_flight)
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
        self.in_flight -= 1

    @precondition(lambda self: self.in_flight)
    @rule()
    def is_released(self):
        self.throttle.release()
        self.in_flight -= 1

    @invariant()
    def slots_hold(self):
        assert self.in_flight == self.throttle.slots_used <= self.concurrency

    @invariant()
    def rate_holds(self):
        for first in range(len(self.turns)):
            for last in range(first, len(self.turns)):
                window = self.turns[last] - self.turns[first]
                assert last - first + 1 <= math.ceil(self.rate * window - 1e-6) + 1

    @invariant()
    def never_blocked(self):
        wake = self.throttle.next_allowed_in(self.now)
        assert wake is not None or self.in_flight
        if wake is not None:
            self.now += wake
            self.elapsed += wake
            assert self.throttle.sends_allowed(self.now) > 0


TestSends = Sends.TestCase


@given(st.floats(0.01, 500), st.integers(1, 50), st.floats(0, 1e9))
def test_a_send_is_allowed_after_the_returned_wait(per_second, count, start):
    it = Throttle(concurrency=100, per_second=per_second, random=Random(1))
    for _ in range(count):
        it.begin(start)
    wake = it.next_allowed_in(start)
    assert wake is not None
    assert it.sends_allowed(start + wake) > 0


def test_the_sends_of_the_last_minute_are_counted():
    it = new_throttle()
    for second in range(120):
        it.begin(second)
        it.end(second, None if second % 2 else Rejected("unknown"))
    assert it.activity(120.0).per_minute == 60
    assert it.activity(150.0).per_minute == 30
    assert it.activity(300.0).per_minute == 0


def test_the_time_since_the_last_success_is_known():
    it = new_throttle()
    assert it.activity(5.0).since_success is None
    it.begin(10.0)
    it.end(10.0, None)
    it.begin(20.0)
    it.end(20.0, Rejected("unknown"))
    assert it.activity(25.0).since_success == 15


def test_an_instance_fails_from_its_first_rest_until_a_success():
    it = new_throttle()
    trip(it, 10.0)
    assert it.activity(15.0).failing_for == 5
    now = 15.0
    for _ in range(3):
        now += it.rest_remaining(now)
        it.begin(now)
        it.end(now, Unavailable("down"))
    assert it.activity(now).failing_for == now - 10
    now += it.rest_remaining(now)
    it.begin(now)
    it.end(now, None)
    assert it.activity(now).failing_for == 0
