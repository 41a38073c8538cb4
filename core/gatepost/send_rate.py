"""How often something happens in a minute, counted without a memory of each time."""

_MINUTE = 60.0


class SendRate:
    """Counts sends, and says how many there were in the last minute: the older ones by their part of a minute."""

    def __init__(self) -> None:
        self._minute = 0
        self._count = 0
        self._count_before = 0

    def add(self, at: float) -> None:
        """Count a send at this moment, in seconds of a clock that never runs backwards."""
        self._begin_minute(at)
        self._count += 1

    def per_minute(self, at: float) -> float:
        """Return the number of sends in the minute before this moment."""
        self._begin_minute(at)
        return self._count + self._count_before * (1 - at % _MINUTE / _MINUTE)

    def _begin_minute(self, at: float) -> None:
        minute = int(at // _MINUTE)
        if minute != self._minute:
            self._count_before = self._count if minute == self._minute + 1 else 0
            self._count, self._minute = 0, minute
