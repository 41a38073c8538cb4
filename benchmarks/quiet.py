"""Whether the machine does anything else while it is measured; only for Linux, because it reads /proc."""

import time
from pathlib import Path

LIMIT = 0.1
"""The share of a core that others may use, or that the host may take away, in a run that gives a verdict."""

_SAMPLE_SECONDS = 1.0


def foreign_share() -> float:
    """Return how much of a core others use now, while this process sleeps; 1 is a whole core.

    Time that a virtual machine was ready to run and did not get counts too (steal).
    """
    before, began = _busy_ticks(), time.monotonic()
    time.sleep(_SAMPLE_SECONDS)
    return (_busy_ticks() - before) / 100 / (time.monotonic() - began)


def _busy_ticks() -> int:
    """Return the time of all cores so far that was not idle, in hundredths of a second (proc(5))."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return user + nice + system + irq + softirq + steal
