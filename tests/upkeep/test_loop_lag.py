"""The measurement of the event loop's lag."""

import asyncio
import time

from gatepost.upkeep import loop_lag


async def test_what_blocks_the_loop_is_measured(monkeypatch):
    monkeypatch.setattr(loop_lag, "PROBE_INTERVAL", 0.001)
    lag = Lag()
    task = asyncio.create_task(loop_lag.measure_loop_lag(lag))
    # The measurement has begun after one turn of the loop.
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251  it blocks the loop
    await lag.observed.wait()
    task.cancel()
    assert lag.seconds[0] > 0.05


class Lag:
    """Keeps what is observed."""

    def __init__(self):
        self.seconds = []
        self.observed = asyncio.Event()

    def observe(self, seconds):
        self.seconds.append(seconds)
        self.observed.set()
