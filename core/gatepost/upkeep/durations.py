"""Durations in words."""

import math


def duration(seconds: float) -> str:
    """Return seconds as ``45 s``, ``12 min``, ``3 h`` or ``5 days``."""
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    if seconds < 7200:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h" if seconds < 172_800 else f"{round(seconds / 86_400)} days"
