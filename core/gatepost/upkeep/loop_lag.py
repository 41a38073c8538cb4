"""The loop that measures how late the event loop is."""

import asyncio
import time

from gatepost.observe.histogram import Histogram

PROBE_INTERVAL = 0.25
"""Seconds between two measurements. What blocks the loop for longer is never missed."""


async def measure_loop_lag(lag: Histogram) -> None:
    """Observe the lag again and again, until cancelled."""
    while True:
        # Not the loop's own clock, which uvloop reads only once a turn.
        due = time.monotonic() + PROBE_INTERVAL
        await asyncio.sleep(PROBE_INTERVAL)
        lag.observe(max(0.0, time.monotonic() - due))
