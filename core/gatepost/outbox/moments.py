"""Moments that operators name: ISO 8601, or a duration from now or until now."""

import re
from datetime import UTC, datetime

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,6})([mhd])", re.ASCII)


def parse_moment(text: str, now: float, direction: int = 1) -> float | None:
    """Return the moment that a text names, in seconds since the epoch; None for a text that names none.

    A duration goes into the future, with the ``direction`` -1 into the past.
    """
    try:
        if duration := _DURATION.fullmatch(text):
            moment = now + direction * int(duration[1]) * _UNITS[duration[2]]
        else:
            named = datetime.fromisoformat(text)
            moment = (named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp()
        # Neither the audit log nor a list can show a moment in UTC that is outside the years 1 to 9999.
        datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError):
        return None
    return moment
