"""Guessing passwords: a few failures are free, and each further one costs a longer wait."""

import pytest

from gatepost.console import login_throttle
from gatepost.console.login_throttle import LoginThrottle


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return LoginThrottle(clock)


def fail(throttle, count, *keys):
    for _ in range(count):
        throttle.note_failure(*(keys or ("name maria",)))


def test_the_first_failures_cost_nothing(throttle):
    fail(throttle, login_throttle.FREE_FAILURES - 1)
    assert throttle.wait("name maria") == 0


def test_each_further_failure_doubles_the_wait_up_to_a_limit(throttle):
    fail(throttle, login_throttle.FREE_FAILURES)
    waits = []
    for _ in range(12):
        waits.append(throttle.wait("name maria"))
        fail(throttle, 1)
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) == login_throttle.MAX_WAIT


def test_the_longest_wait_counts_and_others_have_none(throttle):
    fail(throttle, 6, "address 192.0.2.1")
    assert throttle.wait("name maria", "address 192.0.2.1") > 0
    assert throttle.wait("name maria", "address 192.0.2.2") == 0


def test_a_wait_ends_and_failures_are_forgotten(throttle, clock):
    fail(throttle, 6)
    clock.now += throttle.wait("name maria")
    assert throttle.wait("name maria") == 0
    clock.now += login_throttle.FORGOTTEN_AFTER + 1
    fail(throttle, 1)
    assert throttle.wait("name maria") == 0


def test_a_success_forgets_the_failures(throttle):
    fail(throttle, 8)
    throttle.note_success("name maria")
    assert throttle.wait("name maria") == 0


def test_the_memory_is_bounded(throttle, monkeypatch):
    monkeypatch.setattr(login_throttle, "MAX_KEYS", 3)
    fail(throttle, 8, "name first")
    for number in range(3):
        fail(throttle, 1, f"name {number}")
    assert throttle.wait("name first") == 0
