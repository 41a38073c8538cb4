"""From where a claim looks, so that it need not walk over what was claimed long ago, and strands nothing."""

import pytest

from gatepost.outbox.watermark import BEHIND, EVERYTHING, LOOK, Floor, Reach

NOW = 1_800_000_000_000


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def floor(clock):
    made = Floor(clock)
    made.reached(made.since(), Reach(last=NOW - 9000, now=NOW, ended=False))
    return made


def test_the_first_claim_looks_at_everything(clock):
    assert Floor(clock).since() == EVERYTHING


def test_the_next_begins_a_little_before_the_last_that_was_taken(floor):
    assert floor.since() == NOW - 9000 - BEHIND


def test_when_all_was_taken_the_next_begins_a_little_before_the_present(floor):
    floor.reached(floor.since(), Reach(last=None, now=NOW, ended=True))

    assert floor.since() == NOW - BEHIND


def test_it_never_moves_back_between_two_looks(floor):
    since = floor.since()
    floor.reached(since, Reach(last=NOW - 9500, now=NOW, ended=False))

    assert floor.since() == since


def test_every_few_seconds_everything_is_looked_at(floor, clock):
    clock.now += LOOK

    assert floor.since() == EVERYTHING


def test_old_ones_that_a_look_finds_are_all_taken_before_the_newer(floor, clock):
    clock.now += LOOK
    floor.reached(EVERYTHING, Reach(last=NOW - 60_000, now=NOW, ended=False))

    assert floor.since() == NOW - 60_000 - BEHIND


def test_a_claim_that_failed_is_no_look(floor, clock):
    clock.now += LOOK
    floor.since()

    assert floor.since() == EVERYTHING


def test_what_was_passed_over_is_looked_for_as_soon_as_it_is_not_any_more(floor):
    ill, slow = frozenset({"ill:443"}), frozenset({"slow:443"})
    for passed_over in (ill, ill | slow):
        assert floor.since(passed_over) == NOW - 9000 - BEHIND

    assert floor.since(ill) == EVERYTHING
    floor.reached(EVERYTHING, Reach(last=None, now=NOW, ended=True))
    assert floor.since(ill) == NOW - BEHIND
