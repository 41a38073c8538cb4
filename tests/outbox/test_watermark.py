"""From where a claim looks, so that it need not walk over what was claimed long ago, and strands nothing."""

import pytest

from gatepost.outbox.watermark import BEHIND, EVERYTHING, LOOK, ClaimProgress, Watermark

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
def watermark(clock):
    made = Watermark(clock)
    made.reached(made.since(), ClaimProgress(last=NOW - 9000, now=NOW, ended=False))
    return made


def test_the_first_claim_looks_at_everything(clock):
    assert Watermark(clock).since() == EVERYTHING


def test_the_next_begins_a_little_before_the_last_that_was_taken(watermark):
    assert watermark.since() == NOW - 9000 - BEHIND


def test_when_all_was_taken_the_next_begins_a_little_before_the_present(watermark):
    watermark.reached(watermark.since(), ClaimProgress(last=None, now=NOW, ended=True))

    assert watermark.since() == NOW - BEHIND


def test_it_never_moves_back_between_two_looks(watermark):
    since = watermark.since()
    watermark.reached(since, ClaimProgress(last=NOW - 9500, now=NOW, ended=False))

    assert watermark.since() == since


def test_every_few_seconds_everything_is_looked_at(watermark, clock):
    clock.now += LOOK

    assert watermark.since() == EVERYTHING


def test_old_ones_that_a_look_finds_are_all_taken_before_the_newer(watermark, clock):
    clock.now += LOOK
    watermark.reached(EVERYTHING, ClaimProgress(last=NOW - 60_000, now=NOW, ended=False))

    assert watermark.since() == NOW - 60_000 - BEHIND


def test_a_claim_that_failed_is_no_look(watermark, clock):
    clock.now += LOOK
    watermark.since()

    assert watermark.since() == EVERYTHING


def test_what_was_passed_over_is_looked_for_as_soon_as_it_is_not_any_more(watermark):
    ill, slow = frozenset({"ill:443"}), frozenset({"slow:443"})
    for passed_over in (ill, ill | slow):
        assert watermark.since(passed_over) == NOW - 9000 - BEHIND

    assert watermark.since(ill) == EVERYTHING
    watermark.reached(EVERYTHING, ClaimProgress(last=None, now=NOW, ended=True))
    assert watermark.since(ill) == NOW - BEHIND
