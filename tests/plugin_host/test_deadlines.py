"""The deadlines of calls in progress: each is kept, although all share one timer."""

import asyncio

import pytest

from gatepost.plugin_host.deadlines import Deadlines


class Timer:
    """A timer of the test's loop."""

    def __init__(self, at, call):
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self):
        self.cancelled = True


class Clock:
    """The parts of a loop that tell the time; a test moves it."""

    def __init__(self):
        self.now, self.timers = 100.0, []

    def time(self):
        return self.now

    def call_at(self, at, callback, *arguments):
        self.timers.append(Timer(at, lambda: callback(*arguments)))
        return self.timers[-1]

    @property
    def pending(self):
        return [timer for timer in self.timers if not timer.cancelled]

    def advance(self, seconds):
        self.now += seconds
        for timer in [timer for timer in self.pending if timer.at <= self.now]:
            timer.cancelled = True
            timer.call()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def waiter(clock):
    """Return a function that makes a future whose loop has the clock of the test."""

    class Waiter(asyncio.Future):
        def get_loop(self):
            return clock

    return lambda: Waiter(loop=asyncio.get_running_loop())


async def test_each_is_woken_at_its_own_time_whatever_the_order(clock, waiter):
    deadlines = Deadlines()
    late, soon, later = waiter(), waiter(), waiter()
    for one, seconds in ((late, 5.0), (soon, 1.0), (later, 9.0)):
        deadlines.add(one, seconds)
    woken = []
    for _ in range(9):
        clock.advance(1.0)
        woken.append([one.done() for one in (soon, late, later)])
    assert woken == [[True, False, False]] * 4 + [[True, True, False]] * 4 + [[True, True, True]]


async def test_all_share_one_timer(clock, waiter):
    deadlines = Deadlines()
    for _ in range(50):
        deadlines.add(waiter(), 5.0)
        clock.now += 0.01
    assert len(clock.timers) == 1


async def test_what_has_ended_is_not_woken_and_the_others_still_are(clock, waiter):
    deadlines = Deadlines()
    ended, left = waiter(), waiter()
    deadlines.add(ended, 1.0)
    deadlines.add(left, 2.0)
    deadlines.remove(ended)
    clock.advance(1.0)
    clock.advance(1.0)
    assert not ended.done()
    assert left.done()


async def test_without_calls_there_is_no_timer(clock, waiter):
    deadlines = Deadlines()
    ended = waiter()
    deadlines.add(ended, 1.0)
    deadlines.remove(ended)
    assert clock.pending == []
    again = waiter()
    deadlines.add(again, 3.0)
    clock.advance(3.0)
    assert again.done()


async def test_a_call_that_ends_at_its_deadline_is_left_alone(clock, waiter):
    deadlines = Deadlines()
    ended = waiter()
    deadlines.add(ended, 1.0)
    ended.set_result(None)
    clock.advance(1.0)
    deadlines.remove(ended)
    assert clock.pending == []
