"""When a call is made again, and what becomes of one that was under way when the gateway stopped."""

import itertools

import pytest

from gatepost import callbacks


def later(_low, high):
    return high


def usual(attempt):
    return callbacks.pause(attempt, None, later)


def test_a_retry_after_never_shortens_a_pause():
    for attempt in range(1, 8):
        assert callbacks.pause(attempt, 1.0, later) == usual(attempt)
    assert usual(8) is callbacks.pause(8, 1.0, later) is None


@pytest.mark.parametrize("wish", [-5.0, 0.0, 1.0, 600.0, 40_000.0, 1e12])
def test_a_retry_after_lengthens_a_pause_up_to_the_longest(wish):
    pauses = [callbacks.pause(attempt, wish, lambda low, _high: low) for attempt in range(1, 8)]
    assert all(later >= earlier for earlier, later in itertools.pairwise(pauses))
    assert min(wish, 36_000.0) <= pauses[0] <= 36_000.0
