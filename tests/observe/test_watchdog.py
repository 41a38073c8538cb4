"""Who holds the event loop is told, also when the one who tells it could not run either."""

import asyncio
import ctypes
import threading
import time

import pytest
import structlog

from gatepost.cli import serve
from gatepost.observe import watchdog

HELD = 300_000
"""Microseconds; many times what the watchdog allows here, and it allows less than a busy machine takes."""


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(watchdog, "BLOCKED_AFTER", 0.1)
    monkeypatch.setattr(watchdog, "PROBE_INTERVAL", 0.02)
    return []


def hold_the_interpreter():
    # PyDLL lets nobody else run meanwhile, as C code that forgets to.
    ctypes.PyDLL(None).usleep(HELD)


def hold_the_loop(until):
    """However long a busy machine takes to see it; the bound only ends a test that fails."""
    give_up = time.monotonic() + 60
    while not until() and time.monotonic() < give_up:
        time.sleep(0.01)


async def watched(told, work):
    with watchdog.watch(asyncio.get_running_loop(), {}, told.append):
        # Until the watchdog is at its work.
        for _ in range(3):
            await asyncio.sleep(watchdog.PROBE_INTERVAL)
        asyncio.current_task().set_name("the culprit")
        await work()
        asyncio.current_task().set_name("the innocent")
        await asyncio.sleep(2 * watchdog.PROBE_INTERVAL)


async def test_a_call_that_holds_the_interpreter_is_told_afterwards(told):
    def frozen():
        return [
            one for one in told if one.stalled and one.seconds > HELD / 1e6 - watchdog.PROBE_INTERVAL - 0.01
        ]

    async def work():
        hold_the_interpreter()
        # Where it was is still to be seen when the watchdog runs again.
        hold_the_loop(frozen)

    await watched(told, work)

    longest = max(frozen(), key=lambda one: one.seconds)
    assert longest.task == "the culprit"
    assert "test_watchdog.py" in longest.location


async def test_a_thread_that_holds_the_interpreter_is_among_the_others(told):
    begin, end = threading.Event(), threading.Event()

    def guilty():
        begin.wait()
        hold_the_interpreter()
        end.wait()

    thread = threading.Thread(target=guilty)
    thread.start()

    async def work():
        begin.set()
        while not any(one.stalled for one in told):  # noqa: ASYNC110  the watchdog can't set an event of the loop
            await asyncio.sleep(0.01)

    try:
        await watched(told, work)
    finally:
        end.set()
        thread.join()

    assert any("test_watchdog.py" in place for one in told if one.stalled for place in one.other_threads)


async def test_a_call_that_holds_the_loop_alone_is_told_while_it_does(told):
    def held():
        found = [one for one in told if not one.stalled and one.task == "the culprit"]
        return {one.location.rpartition(" in ")[2] for one in found}

    async def work():
        hold_the_loop(held)

    await watched(told, work)

    assert {place.partition(".")[0] for place in held()} <= {
        "hold_the_loop",
        "test_a_call_that_holds_the_loop_alone_is_told_while_it_does",
    }
    assert held()


async def test_the_log_has_a_line_about_it(told):
    loop = asyncio.get_running_loop()
    with (
        structlog.testing.capture_logs() as logged,
        watchdog.watch(loop, {}, lambda held: serve._report_blocked(held, {})),
    ):
        for _ in range(3):
            await asyncio.sleep(watchdog.PROBE_INTERVAL)
        hold_the_interpreter()
        while not any(one["event"] == "process_stalled" for one in logged):  # noqa: ASYNC110  as above
            await asyncio.sleep(0.01)

    line = next(one for one in logged if one["event"] == "process_stalled")
    assert line["log_level"] == "warning"
    assert "the whole process stood still for 0." in line["problem"]
    assert line.keys() >= {"task", "place", "cpu_seconds", "other_threads"}
