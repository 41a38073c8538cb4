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
    monkeypatch.setattr(watchdog, "LATE", 0.1)
    monkeypatch.setattr(watchdog, "EVERY", 0.02)
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
    with watchdog.watching(asyncio.get_running_loop(), {}, told.append):
        # Until the watchdog is at its work.
        for _ in range(3):
            await asyncio.sleep(watchdog.EVERY)
        asyncio.current_task().set_name("the culprit")
        await work()
        asyncio.current_task().set_name("the innocent")
        await asyncio.sleep(2 * watchdog.EVERY)


async def test_a_call_that_holds_the_interpreter_is_told_afterwards(told):
    def frozen():
        return [one for one in told if one.frozen and one.seconds > HELD / 1e6 - watchdog.EVERY - 0.01]

    async def work():
        hold_the_interpreter()
        # Where it was is still to be seen when the watchdog runs again.
        hold_the_loop(frozen)

    await watched(told, work)

    longest = max(frozen(), key=lambda one: one.seconds)
    assert longest.task == "the culprit"
    assert "test_watchdog.py" in longest.place


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
        while not any(one.frozen for one in told):  # noqa: ASYNC110  the watchdog can't set an event of the loop
            await asyncio.sleep(0.01)

    try:
        await watched(told, work)
    finally:
        end.set()
        thread.join()

    assert any("test_watchdog.py" in place for one in told if one.frozen for place in one.others)


async def test_a_call_that_holds_the_loop_alone_is_told_while_it_does(told):
    def held():
        found = [one for one in told if not one.frozen and one.task == "the culprit"]
        return {one.place.rpartition(" in ")[2] for one in found}

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
        watchdog.watching(loop, {}, lambda held: serve._tell(held, {})),
    ):
        for _ in range(3):
            await asyncio.sleep(watchdog.EVERY)
        hold_the_interpreter()
        while not any(one["event"] == "process_frozen" for one in logged):  # noqa: ASYNC110  as above
            await asyncio.sleep(0.01)

    line = next(one for one in logged if one["event"] == "process_frozen")
    assert line["log_level"] == "warning"
    assert "nothing of the process ran for 0." in line["problem"]
    assert line.keys() >= {"task", "place", "cpu_seconds", "other_threads"}
