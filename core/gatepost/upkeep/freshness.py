"""How fresh the data of a contact source are, by what the source says of them and by `contacts.stale_after`."""

import time
from enum import StrEnum

from gatepost.plugin_host.services import InstanceServices

MAX_CLOCK_ERROR = 300.0
"""Seconds by which the clock of the data's origin may be ahead of this one."""


class Freshness(StrEnum):
    """What is known of the age of a source's data."""

    FRESH = "fresh"
    """Not older than `contacts.stale_after`, or that is 0."""
    STALE = "stale"
    """Older than `contacts.stale_after`."""
    UNKNOWN = "unknown"
    """The source does not say how old its data are."""
    LOST = "lost"
    """The source said it once, and does not say it any more."""
    FUTURE = "future"
    """The source names a time in the future: it can't be true, so the age is not known."""


def freshness(services: InstanceServices, stale_after: float) -> Freshness:
    """Return how fresh the data of this source are. ``stale_after`` is in seconds; with 0 they are FRESH or UNKNOWN."""
    as_of = services.contacts.as_of if services.contacts else None
    if not stale_after:
        return Freshness.UNKNOWN if as_of is None else Freshness.FRESH
    if as_of is None:
        return Freshness.LOST if services.has_said_age else Freshness.UNKNOWN
    age = time.time() - as_of
    if age < -MAX_CLOCK_ERROR:
        return Freshness.FUTURE
    return Freshness.STALE if age > stale_after else Freshness.FRESH
