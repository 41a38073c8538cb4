"""Limits of relays on the number of mails, for ``Sink.refuse_mail``."""

from collections.abc import Callable


class RateLimit:
    """A number of mails in a period; the period begins with a mail, and refused mails count, as in Postfix."""

    def __init__(self, mails: int, seconds: float, clock: Callable[[], float], answer: str) -> None:
        self._mails = mails
        self._seconds = seconds
        self._clock = clock
        self._answer = answer
        self._began = -seconds
        self._count = 0
        self.periods = 0
        self.refused = 0

    def __call__(self, _mails: int) -> str:
        """Count a mail; return its refusal if it is one too many."""
        now = self._clock()
        if now - self._began >= self._seconds:
            self._began, self._count = now, 0
            self.periods += 1
        self._count += 1
        if self._count <= self._mails:
            return ""
        self.refused += 1
        return self._answer


class SessionLimit:
    """A number of mails over one connection."""

    def __init__(self, mails: int, answer: str = "421 4.7.0 too many mails over this connection") -> None:
        self.mails = mails
        self._answer = answer
        self.refused = 0

    def __call__(self, mails: int) -> str:
        """Return the refusal of a mail after this number of mails."""
        if mails < self.mails:
            return ""
        self.refused += 1
        return self._answer
