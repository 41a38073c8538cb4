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


def test_the_first_claim_is_a_full_scan(clock):
    assert Watermark(clock).min_due_at() == FULL_SCAN


def test_the_next_claim_starts_a_little_below_the_last_claimed_row(watermark):
    assert watermark.min_due_at() == NOW - 9000 - COMMIT_DELAY


def test_after_an_exhausted_claim_the_next_starts_a_little_before_now(watermark):
    watermark.advance(watermark.min_due_at(), ClaimProgress(max_due_at=None, now=NOW, exhausted=True))

    assert watermark.min_due_at() == NOW - COMMIT_DELAY


def test_the_watermark_never_moves_back_between_two_full_scans(watermark):
    before = watermark.min_due_at()
    watermark.advance(before, ClaimProgress(max_due_at=NOW - 9500, now=NOW, exhausted=False))

    assert watermark.min_due_at() == before


def test_a_full_scan_is_due_after_its_interval(watermark, clock):
    clock.now += FULL_SCAN_INTERVAL

    assert watermark.min_due_at() == FULL_SCAN


def test_after_a_full_scan_found_old_rows_the_next_claim_starts_there(watermark, clock):
    clock.now += FULL_SCAN_INTERVAL
    watermark.advance(FULL_SCAN, ClaimProgress(max_due_at=NOW - 60_000, now=NOW, exhausted=False))

    assert watermark.min_due_at() == NOW - 60_000 - COMMIT_DELAY


def test_a_failed_claim_does_not_count_as_a_full_scan(watermark, clock):
    clock.now += FULL_SCAN_INTERVAL
    watermark.min_due_at()

    assert watermark.min_due_at() == FULL_SCAN


def test_a_target_that_is_no_longer_excluded_causes_a_full_scan(watermark):
    one, other = frozenset({"one:443"}), frozenset({"other:443"})
    for excluded in (one, one | other):
        assert watermark.min_due_at(excluded) == NOW - 9000 - COMMIT_DELAY

    assert watermark.min_due_at(one) == FULL_SCAN
    watermark.advance(FULL_SCAN, ClaimProgress(max_due_at=None, now=NOW, exhausted=True))
    assert watermark.min_due_at(one) == NOW - COMMIT_DELAY
