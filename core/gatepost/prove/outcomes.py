"""What a run has exercised, and what it could not."""

from collections import Counter
from collections.abc import Sequence

import msgspec


class Exercised(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, and how often."""

    where: str
    """The client and the route, or the instance."""
    what: str
    count: int


class NotExercised(msgspec.Struct, frozen=True, kw_only=True):
    """Something that did not happen."""

    where: str
    what: str
    why: str


class Outcomes:
    """Collects both."""

    def __init__(self) -> None:
        self._done: Counter[tuple[str, str]] = Counter()
        self._missing: dict[tuple[str, str], str] = {}

    def done(self, where: str, what: str) -> None:
        """Count something that happened."""
        self._done[where, what] += 1

    def missing(self, where: str, what: str, why: str) -> None:
        """Note what could not be exercised."""
        self._missing.setdefault((where, what), why)

    def expect(self, where: str, what: str, found: int, expected: int) -> None:
        """Count it where the answer's code was as expected."""
        if found == expected:
            self.done(where, what)
        else:
            self.missing(where, what, f"the answer was {found}, not {expected}")

    @property
    def exercised(self) -> Sequence[Exercised]:
        """What happened, in the order in which it did first."""
        return [Exercised(where=where, what=what, count=count) for (where, what), count in self._done.items()]

    @property
    def not_exercised(self) -> Sequence[NotExercised]:
        """What did not happen at all."""
        return [
            NotExercised(where=where, what=what, why=why)
            for (where, what), why in self._missing.items()
            if (where, what) not in self._done
        ]

    @property
    def sent(self) -> int:
        """The messages that were accepted."""
        return sum(count for (_, what), count in self._done.items() if what.startswith("code 0"))
