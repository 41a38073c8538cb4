"""The due time from which a claim reads the index, so that it skips dead entries and leaves no row behind."""

import pytest

from gatepost.outbox.watermark import COMMIT_DELAY, FULL_SCAN, FULL_SCAN_INTERVAL, ClaimProgress, Watermark

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
    watermark = Watermark(clock)
    watermark.advance(watermark.min_due_at(), ClaimProgress(max_due_at=NOW - 9000, now=NOW, exhausted=False))
    return watermark


def test_the_first_claim_looks_at_everything(clock):
    assert Watermark(clock).min_due_at() == FULL_SCAN


def test_the_next_begins_a_little_before_the_last_that_was_taken(watermark):
    assert watermark.min_due_at() == NOW - 9000 - COMMIT_DELAY


def test_when_all_was_taken_the_next_begins_a_little_before_the_present(watermark):
    watermark.advance(watermark.min_due_at(), ClaimProgress(max_due_at=None, now=NOW, exhausted=True))

    assert watermark.min_due_at() == NOW - COMMIT_DELAY


def test_it_never_moves_back_between_two_looks(watermark):
    before = watermark.min_due_at()
    watermark.advance(before, ClaimProgress(max_due_at=NOW - 9500, now=NOW, exhausted=False))

    assert watermark.min_due_at() == before


def test_every_few_seconds_everything_is_looked_at(watermark, clock):
    clock.now += FULL_SCAN_INTERVAL

    assert watermark.min_due_at() == FULL_SCAN


def test_old_ones_that_a_look_finds_are_all_taken_before_the_newer(watermark, clock):
    clock.now += FULL_SCAN_INTERVAL
    watermark.advance(FULL_SCAN, ClaimProgress(max_due_at=NOW - 60_000, now=NOW, exhausted=False))

    assert watermark.min_due_at() == NOW - 60_000 - COMMIT_DELAY


def test_a_claim_that_failed_is_no_look(watermark, clock):
    clock.now += FULL_SCAN_INTERVAL
    watermark.min_due_at()

    assert watermark.min_due_at() == FULL_SCAN


def test_what_was_passed_over_is_looked_for_as_soon_as_it_is_not_any_more(watermark):
    one, other = frozenset({"one:443"}), frozenset({"other:443"})
    for excluded in (one, one | other):
        assert watermark.min_due_at(excluded) == NOW - 9000 - COMMIT_DELAY

    assert watermark.min_due_at(one) == FULL_SCAN
    watermark.advance(FULL_SCAN, ClaimProgress(max_due_at=None, now=NOW, exhausted=True))
    assert watermark.min_due_at(one) == NOW - COMMIT_DELAY
