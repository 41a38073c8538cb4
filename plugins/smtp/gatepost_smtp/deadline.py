"""The deadline of a send, and the shares of its time that the first steps may take."""

import asyncio

MAX_WAIT_SHARE = 0.2
"""The share of a send's time that it may wait for a free connection."""
MAX_START_SHARE = 0.5
"""The share of a send's time after which no mail is started, because the relay needs the rest to accept it. A
mail that is given up before it is sent costs one try; a mail that is given up later is uncertain."""


class Deadline:
    """The moment at which a send ends, shared by all its steps.

    Moments are by the loop's clock; the timeouts, for ``async with``, raise TimeoutError. aiosmtplib's own timeouts are
    off: they use wait_for, which in Python 3.11 loses a cancellation that arrives together with a result, and
    they start again with every answer.
    """

    def __init__(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().time
        now = self._clock()
        self._seconds = seconds
        self.end = now + seconds
        self._latest_start = now + seconds * MAX_START_SHARE

    def until_end(self) -> asyncio.Timeout:
        """Return a timeout for a step that may take all the time that is left."""
        return asyncio.timeout_at(self.end)

    def latest_start(self, share: float = 1.0) -> float:
        """Return the end of a step before the mail, which has this share of the time until its latest start."""
        now = self._clock()
        return now + (self._latest_start - now) * share

    def until_start(self, share: float = 1.0) -> asyncio.Timeout:
        """Return a timeout for such a step."""
        return asyncio.timeout_at(self.latest_start(share))

    def until_wait_ends(self) -> asyncio.Timeout:
        """Return a timeout for the wait for a free connection."""
        return asyncio.timeout_at(min(self._clock() + self._seconds * MAX_WAIT_SHARE, self._latest_start))
