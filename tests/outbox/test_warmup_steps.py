"""The cap of an instance that warms up, from period to period: pure functions on any clock."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.outbox.warmup_steps import (
    DAY,
    MAX_AHEAD,
    PERIODS,
    Sends,
    Warmup,
    WarmupState,
    is_carried,
    judged_periods,
    next_state,
)

HOUR = PERIODS["hour"]
START = 20_833 * DAY
"""A midnight."""
PLAN = Warmup("relay", 500, 1.5, DAY)
FIRST = next_state(PLAN, None, START + 5, {})


def after(state, sends, plan=PLAN, earlier=()):
    """Return the state of the period after this one, which had these sends; ``earlier``: those of the periods before it."""
    counts = {state.began - number * plan.period: one for number, one in enumerate((sends, *earlier))}
    return next_state(plan, state, state.end, counts)


def test_the_first_period_begins_with_its_cap_at_midnight():
    assert (FIRST.began, FIRST.end, FIRST.limit) == (START, START + DAY, 500)


@pytest.mark.parametrize(
    ("sends", "cap", "decision"),
    [
        (Sends(500), 750, "it grew from 500"),
        (Sends(250), 750, "it grew from 500"),
        (Sends(249), 500, "it stayed, because 249 were used, and it grows after half"),
        (Sends(500, failed=24), 750, "it grew from 500"),
        (Sends(500, failed=25), 500, "it stayed, because of 500 sends 25 failed"),
        (Sends(500, complained=1), 500, "it stayed, because of 500 sends 1 complained"),
        (Sends(500, failed=50), 500, "it stayed, because of 500 sends 50 failed"),
        (Sends(), 500, "it stayed, because 0 were used, and it grows after half"),
    ],
)
def test_the_cap_grows_where_it_was_used_and_few_failed(sends, cap, decision):
    state = after(FIRST, sends)
    assert (state.began, state.limit, state.decision) == (START + DAY, cap, decision)


@pytest.mark.parametrize(
    ("sends", "cap"),
    [
        (Sends(2_000, complained=1), 1_687),
        (Sends(2_000, complained=2), 1_125),
        (Sends(2_000, complained=5), 1_125),
        (Sends(2_000, complained=6), 750),
        (Sends(2_000, failed=199), 1_125),
        (Sends(2_000, failed=200), 750),
        # One complaint of two hundred sends is no rate.
        (Sends(200, complained=1), 1_125),
        (Sends(200, complained=2), 750),
        # Also where the cap was hardly used.
        (Sends(10, failed=9), 750),
    ],
)
def test_the_cap_is_lowered_by_a_step_where_the_sends_were_received_badly(sends, cap):
    state = msgspec.structs.replace(FIRST, cap=1_125.0)
    assert after(state, sends).limit == cap


def test_reports_that_come_a_day_late_count_for_their_own_sends_and_once():
    second = after(FIRST, Sends(500))
    # The complaints about the first day came in the second one.
    third = after(second, Sends(750), earlier=[Sends(500, complained=3)])
    assert third.limit == 500
    assert third.decision == "it was lowered from 750, because of 500 sends 3 complained, of the day before"
    fourth = after(third, Sends(500), earlier=[Sends(750)])
    assert fourth.limit == 750


def test_what_has_lowered_the_cap_does_not_lower_it_again_but_lets_nothing_grow_for_a_day():
    state = msgspec.structs.replace(FIRST, cap=1_125.0)
    bad = Sends(1_000, complained=10)
    lowered = after(state, bad)
    stayed = after(lowered, Sends(750), earlier=[bad])
    assert (lowered.limit, stayed.limit) == (750, 750)
    assert stayed.decision.endswith("of the day before")
    assert after(stayed, Sends(750), earlier=[Sends(750)]).limit == 1_125


def test_with_hours_the_day_before_is_judged_as_a_whole():
    plan = Warmup("relay", 100, 1.5, HOUR)
    state = next_state(plan, None, START, {})
    assert len(judged_periods(state)) == 25
    assert after(state, Sends(100), plan, [Sends(100, failed=4)] * 24).limit == 150
    assert after(state, Sends(100), plan, [Sends(100, failed=6)] * 24).limit == 100


def test_a_small_cap_grows_too():
    plan = Warmup("relay", 1, 1.5, DAY)
    state = next_state(plan, None, START, {})
    caps = []
    for _ in range(6):
        caps.append(state.limit)
        state = after(state, Sends(state.limit), plan)
    assert caps == [1, 1, 2, 3, 5, 7]


def test_a_product_of_decimals_is_not_one_too_low():
    plan = Warmup("relay", 100, 1.15, DAY)
    assert after(next_state(plan, None, START, {}), Sends(100), plan).limit == 115


def test_a_larger_first_cap_raises_a_lower_one_and_a_smaller_one_changes_nothing():
    assert next_state(PLAN._replace(first=800), FIRST, START + 9, {}).limit == 800
    assert next_state(PLAN._replace(first=100), FIRST, START + 9, {}) == FIRST


def test_another_factor_holds_from_the_next_decision_on():
    assert next_state(PLAN._replace(factor=3.0), FIRST, START + 9, {}) == FIRST
    assert after(FIRST, Sends(500), PLAN._replace(factor=3.0)).limit == 1_500


def test_another_period_begins_with_the_same_cap_and_the_sends_that_were_made():
    hourly = next_state(PLAN._replace(period=HOUR), FIRST, START + 5 * HOUR + 9, {})
    assert (hourly.began, hourly.limit, is_carried(FIRST, hourly)) == (START + 5 * HOUR, 500, True)
    daily = next_state(PLAN, hourly, START + 5 * HOUR + 10, {})
    assert (daily.began, is_carried(hourly, daily)) == (START, True)


def test_a_clock_that_was_set_back_begins_nothing_and_decides_nothing():
    second = after(FIRST, Sends(500))
    assert next_state(PLAN, second, START + DAY - 1, {}) == second
    assert next_state(PLAN, second, second.began - MAX_AHEAD, {}) == second


def test_a_period_far_in_the_future_is_given_up_with_its_cap_and_its_sends_count():
    far = next_state(PLAN, FIRST, START + 400 * DAY, {START: Sends(500)})
    assert far.limit == 750
    back = next_state(PLAN, far, START + 9, {})
    assert (back.began, back.limit, is_carried(far, back)) == (START, 500, True)


def test_days_without_a_send_change_nothing():
    state = next_state(PLAN, FIRST, START + 30 * DAY + 7, {START: Sends(500)})
    assert (state.began, state.limit) == (START + 30 * DAY, 750)


class Run:
    """A warm-up as the store has it: the state, and the places that were taken in each period."""

    def __init__(self, plan):
        self.plan = plan
        self.state = None
        self.sent = {}
        self.failed = {}

    def send(self, now, wanted, failures):
        counts = {}
        if self.state:
            periods = judged_periods(self.state)
            counts = {begin: Sends(self.sent.get(begin, 0), self.failed.get(begin, 0)) for begin in periods}
        old, self.state = self.state, next_state(self.plan, self.state, now, counts)
        if old and is_carried(old, self.state):
            begin = self.state.began
            self.sent[begin] = self.sent.get(begin, 0) + self.sent.get(old.began, 0)
        begin = self.state.began
        count = max(0, min(wanted, self.state.limit - self.sent.get(begin, 0)))
        self.sent[begin] = self.sent.get(begin, 0) + count
        self.failed[begin] = self.failed.get(begin, 0) + min(failures, count)
        return old, count


plans = st.builds(
    Warmup, st.just("relay"), st.integers(1, 1_000), st.floats(1.0, 10.0), st.sampled_from([DAY, HOUR])
)
steps = st.lists(
    st.tuples(
        st.integers(-3 * DAY, 3 * DAY) | st.integers(-HOUR, HOUR),
        st.integers(0, 10_000),
        st.integers(0, 100),
    ),
    max_size=60,
)


@given(plans, steps)
def test_on_no_clock_does_a_cap_grow_faster_than_its_factor_or_fall_below_the_first_one(plan, moves):
    run, now = Run(plan), START
    for move, wanted, failures in moves:
        now += move
        old, _ = run.send(now, wanted, failures)
        new = run.state
        assert new.limit >= plan.first
        assert run.sent[new.began] <= new.limit or is_carried(old, new)
        if old and new.began == old.began:
            assert new == old
        elif old:
            assert new.cap <= old.cap * plan.factor + 1e-6
            assert new.cap >= min(old.cap, old.cap_before) / plan.factor - 1e-6


@given(plans, st.lists(st.tuples(st.integers(-DAY, DAY), st.integers(0, 10_000)), max_size=60))
def test_a_clock_that_is_set_back_by_less_than_two_days_gives_no_period_twice(plan, moves):
    """Every period that begins is later than all before it, so nothing can be sent twice for one."""
    run, now, begun = Run(plan), START, []
    for move, wanted in moves:
        now += move
        run.send(max(now, START, (begun[-1] if begun else 0) - MAX_AHEAD), wanted, 0)
        if not begun or run.state.began != begun[-1]:
            begun.append(run.state.began)
        assert run.sent[run.state.began] <= run.state.limit
    assert begun == sorted(set(begun))


def test_a_state_is_read_as_it_was_stored():
    state = after(FIRST, Sends(500))
    assert msgspec.json.decode(msgspec.json.encode(state), type=WarmupState) == state
