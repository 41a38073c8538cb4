"""Numbers and moments for people."""

from datetime import UTC, datetime


def moment_text(moment: float) -> str:
    """Return seconds since the epoch for people, in UTC: ``2027-01-31 09:00:00Z``."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}Z"


def utc(moment: float) -> str:
    """Return seconds since the epoch as UTC text in the log's format (ISO 8601), which ``parse_moment`` reads."""
    return f"{datetime.fromtimestamp(moment, UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def plural(number: int, noun: str) -> str:
    """Return ``1 message``, ``2,000 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
