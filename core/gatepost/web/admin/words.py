"""Numbers, moments and sizes for people."""

from datetime import UTC, datetime

from gatepost.outbox.store_size import StoreSize


def moment_text(moment: float) -> str:
    """Return seconds since the epoch for people, in UTC: ``2027-01-31 09:00:00Z``."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}Z"


def utc(moment: float) -> str:
    """Return seconds since the epoch as UTC text in the log's format (ISO 8601), which ``parse_moment`` reads."""
    return f"{datetime.fromtimestamp(moment, UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def plural(number: int, noun: str) -> str:
    """Return ``1 message``, ``2,000 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size_text(size: StoreSize) -> str:
    """Return the size of the store, and how fast it grows."""
    parts = [f"write-ahead log {bytes_text(size.wal)}"] if size.wal else []
    parts += [f"{name} {bytes_text(part)}" for name, part in size.tables.items()]
    inner = f" ({', '.join(parts)})" if parts else ""
    if size.per_day is None:
        growth = "its growth is known after a day"
    elif size.per_day > 0:
        growth = f"grows by {bytes_text(size.per_day)} a day"
    else:
        growth = "does not grow"
    return f"{bytes_text(size.total)}{inner}, {growth}"


def bytes_text(number: float) -> str:
    """Return a number of bytes as ``12 kB``, ``3.4 MB`` or ``1.2 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
