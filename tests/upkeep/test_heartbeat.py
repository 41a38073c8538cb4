"""The signs of life of a gateway, and the lateness of its event loop."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from gatepost.errors import StoreBusy
from gatepost.upkeep import heartbeat
from gatepost.upkeep.heartbeat import Heartbeat


class FakeOutbox:
    """An outbox that notes what it is asked to do."""

    def __init__(self, failure=None):
        self.done = []
        self.failure = failure

    async def change(self, work, _order):
        if self.failure:
            raise self.failure
        self.done.append(work.__name__)


@pytest.fixture(autouse=True)
def short_ticks(monkeypatch):
    monkeypatch.setattr(heartbeat, "TICK", 0.001)


async def run_until(beat, is_done):
    task = asyncio.create_task(beat.run())
    async with asyncio.timeout(60):
        while not is_done():  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_beats_again_and_again():
    outbox = FakeOutbox()
    await run_until(Heartbeat(outbox, time.monotonic), lambda: len(outbox.done) >= 4)
    assert outbox.done[:4] == ["note", "sample"] * 2


async def test_a_store_that_is_away_does_not_end_it():
    outbox = FakeOutbox(StoreBusy("the database is away"))
    with capture_logs() as logged:
        await run_until(Heartbeat(outbox, time.monotonic), lambda: len(logged) >= 2)
    assert {entry["event"] for entry in logged} == {"heartbeat_failed"}


async def test_a_loop_that_is_blocked_is_late():
    now = 0.0

    def clock():
        """Return a time that is half a second later at each look, as if other work had taken it."""
        nonlocal now
        now += 0.5
        return now

    beat = Heartbeat(FakeOutbox(), clock)
    assert beat.max_lag == 0.0
    await run_until(beat, lambda: beat.max_lag)
    assert beat.max_lag == pytest.approx(0.499)


async def test_the_start_itself_may_block_the_loop(monkeypatch):
    """Otherwise every start would be a problem for a minute."""
    moments = iter([0.0] + [0.0, 2.0] * heartbeat.START_TICKS)
    outbox = FakeOutbox()
    beat = Heartbeat(outbox, lambda: next(moments, 3.0))
    await run_until(beat, lambda: outbox.done)
    assert beat.max_lag == 0.0


async def test_a_stop_waits_for_the_store_only_a_moment(monkeypatch):
    monkeypatch.setattr(heartbeat, "_FORGET_TIMEOUT", 0.001)

    class HangingOutbox:
        async def change(self, *_):
            await asyncio.Event().wait()

    with capture_logs() as logged:
        await Heartbeat(HangingOutbox(), time.monotonic).stop()
    assert [entry["event"] for entry in logged] == ["heartbeat_failed"]
