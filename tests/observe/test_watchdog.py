"""The watchdog reports what blocks the event loop, also when its own thread could not run."""

import asyncio
import ctypes
import re
import threading
import time

import pytest
import structlog

from gatepost.cli import serve
from gatepost.observe import watchdog

BLOCK_MICROSECONDS = 300_000
"""Many times longer than the watchdog allows in these tests."""


@pytest.fixture
def samples(monkeypatch):
    monkeypatch.setattr(watchdog, "BLOCKED_AFTER", 0.1)
    monkeypatch.setattr(watchdog, "PROBE_INTERVAL", 0.02)
    return []


def block_the_interpreter():
    # PyDLL does not release the interpreter, as a faulty C extension.
    ctypes.PyDLL(None).usleep(BLOCK_MICROSECONDS)


def block_the_loop(until):
    """Block the loop until the watchdog has noticed it; the limit only ends a failing test."""
    give_up = time.monotonic() + 60
    while not until() and time.monotonic() < give_up:
        time.sleep(0.01)


async def run_watched(samples, work):
    with watchdog.watch(asyncio.get_running_loop(), {}, samples.append):
        # Give the watchdog time to start.
        for _ in range(3):
            await asyncio.sleep(watchdog.PROBE_INTERVAL)
        asyncio.current_task().set_name("the culprit")
        await work()
        asyncio.current_task().set_name("the innocent")
        await asyncio.sleep(2 * watchdog.PROBE_INTERVAL)


async def test_a_call_that_blocks_the_interpreter_is_reported_afterwards(samples):
    def stalls():
        # Not those in which the machine had no time for this process, before the call or after it.
        return [
            one
            for one in samples
            if one.stalled
            and one.task == "the culprit"
            and one.seconds > BLOCK_MICROSECONDS / 1e6 - watchdog.PROBE_INTERVAL - 0.01
        ]

    async def work():
        block_the_interpreter()
        # The same task is still running when the watchdog runs again.
        block_the_loop(stalls)

    await run_watched(samples, work)

    assert any("test_watchdog.py" in one.location for one in stalls())


async def test_a_thread_that_blocks_the_interpreter_is_among_the_other_threads(samples):
    begin, end = threading.Event(), threading.Event()

    def guilty():
        begin.wait()
        block_the_interpreter()
        end.wait()

    thread = threading.Thread(target=guilty)
    thread.start()

    def guilty_places():
        places = [place for one in samples if one.stalled for place in one.other_threads]
        return [place for place in places if "test_watchdog.py" in place]

    async def work():
        begin.set()
        async with asyncio.timeout(60):
            while not guilty_places():  # noqa: ASYNC110  the watchdog can't set an event of the loop
                await asyncio.sleep(0.01)

    try:
        await run_watched(samples, work)
    finally:
        end.set()
        thread.join()


async def test_a_call_that_blocks_only_the_loop_is_reported_while_it_runs(samples):
    def locations():
        found = [one for one in samples if not one.stalled and one.task == "the culprit"]
        return {one.location.rpartition(" in ")[2] for one in found}

    async def work():
        block_the_loop(locations)

    await run_watched(samples, work)

    assert {place.partition(".")[0] for place in locations()} <= {
        "block_the_loop",
        "test_a_call_that_blocks_only_the_loop_is_reported_while_it_runs",
        # Until its next await.
        "run_watched",
    }
    assert locations()


async def test_a_stall_is_logged_as_a_warning(samples):
    loop = asyncio.get_running_loop()
    with (
        structlog.testing.capture_logs() as logged,
        watchdog.watch(loop, {}, lambda sample: serve._report_blocked(sample, {})),
    ):
        for _ in range(3):
            await asyncio.sleep(watchdog.PROBE_INTERVAL)
        block_the_interpreter()
        async with asyncio.timeout(60):
            while not any(one["event"] == "process_stalled" for one in logged):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.01)

    line = next(one for one in logged if one["event"] == "process_stalled")
    assert line["log_level"] == "warning"
    assert re.search(r"the whole process stood still for \d+\.\d", line["problem"])
    assert line.keys() >= {"task", "place", "cpu_seconds", "other_threads"}
