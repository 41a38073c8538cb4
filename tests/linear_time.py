"""Whether the time for a text is linear in its length, by the CPU of this thread; other work on the machine does not count."""

import time
from collections.abc import Callable

import pytest

MEASURABLE = 0.001
"""Seconds of CPU below which a measurement is too inexact."""

FACTOR = 16
"""By which the text grows. Quadratic work then takes 256 times as long."""

LIMIT = 3 * FACTOR
"""Times as long as linear work may take: a long text doesn't fit into the processor's caches, and a busy machine is uneven."""

TRIES = 25


def cpu(work: Callable[[str], object], text: str) -> float:
    begun = time.thread_time()
    work(text)
    return time.thread_time() - begun


def check_linear(work: Callable[[str], object], text: Callable[[int], str]) -> str:
    """Fail where ``work`` takes much longer than in proportion; return the long text.

    ``text`` returns one of about the length that is asked for.
    """
    length = 2048
    while length < 65_536 and cpu(work, text(length)) < MEASURABLE:
        length *= 2
    short, long = text(length), text(FACTOR * length)
    limit = LIMIT * len(long) / len(short) / FACTOR
    ratios = []
    # Other work on the machine can slow down single measurements, but not every one of them by so much.
    while len(ratios) < TRIES:
        ratios.append(cpu(work, long) / cpu(work, short))
        if ratios[-1] < limit:
            return long
    pytest.fail(f"from {len(short)} to {len(long)} characters: at least {min(ratios):.0f} times")
