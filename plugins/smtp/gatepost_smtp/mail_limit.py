"""The number of mails that a connection may carry: MAX_MAILS, or fewer if the relay ends connections earlier."""

from collections.abc import Callable

from gatepost_smtp.connection import Connection

MAX_MAILS = 100
"""Mails over one connection; load balancers need new connections."""
MIN_RETRY_DELAY, MAX_RETRY_DELAY = 60.0, 3600.0
"""Seconds until one mail more is tried over a connection; doubled after each time that the relay did not take it."""


class MailLimit:
    """The number of mails after which a connection is closed, so that no mail meets the end of one.

    It is learned when the relay has ended two connections after the same number of mails, the second of which was
    opened after the first had ended, and none has carried more mails meanwhile. A relay that restarts ends many at once,
    and proves nothing.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._allowed = MAX_MAILS
        self._suspected = 0
        self._suspected_at = 0.0
        self._retry_delay = MIN_RETRY_DELAY
        self._retry_at = 0.0

    def permits(self, mails: int) -> bool:
        """Tell whether a connection that has carried this number of mails may carry another one."""
        if mails < self._allowed or mails >= MAX_MAILS:
            return mails < MAX_MAILS
        if self._clock() < self._retry_at:
            return False
        self._retry_delay = min(2 * self._retry_delay, MAX_RETRY_DELAY)
        self._retry_at = self._clock() + self._retry_delay
        return True

    def record_taken(self, mails: int) -> None:
        """Record that a connection has carried this number of mails; if that exceeds the limit, raise it."""
        if mails > self._suspected:
            self._suspected = 0
        if mails > self._allowed:
            self._allowed = mails
            self._retry_delay, self._retry_at = MIN_RETRY_DELAY, self._clock()

    def record_end(self, connection: Connection) -> None:
        """Record that the relay ended a connection, and that another one took the next mail."""
        mails = connection.mails
        if mails >= self._allowed or connection.ended_at is None:
            return
        if mails != self._suspected:
            self._suspected, self._suspected_at = mails, connection.ended_at
        elif connection.opened_at > self._suspected_at:
            self._allowed = mails
            self._retry_delay, self._retry_at = MIN_RETRY_DELAY, self._clock() + MIN_RETRY_DELAY
