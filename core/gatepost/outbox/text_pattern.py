"""Text patterns of operators, in which ``*`` stands for any number of letters."""

MAX_PATTERN = 1_000
"""Letters of a pattern."""


class TextPattern:
    """A pattern for a whole text. ``*`` stands for any letters or none, each other letter for itself in any case.

    ``*`` is the only wildcard. Therefore the time to match a text is proportional to its length, for every text.
    """

    def __init__(self, pattern: str) -> None:
        first, *rest = pattern.casefold().split("*")
        self._first = first
        self._middle = [part for part in rest[:-1] if part]
        self._last = rest[-1] if rest else None
        """None: the pattern has no ``*``."""

    def matches(self, text: str) -> bool:
        """Return whether the whole text fits the pattern."""
        folded = text.casefold()
        if self._last is None:
            return folded == self._first
        if not folded.startswith(self._first):
            return False
        # The leftmost place of each part leaves the most letters for the parts after it, so none is tried twice.
        position = len(self._first)
        for part in self._middle:
            found = folded.find(part, position)
            if found < 0:
                return False
            position = found + len(part)
        return len(folded) - position >= len(self._last) and folded.endswith(self._last)
