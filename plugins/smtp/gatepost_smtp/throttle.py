"""Pauses for a relay that refuses mails because there were too many of them."""

from collections.abc import Callable

from gatepost.errors import Rejected, Unavailable
from gatepost_smtp.replies import asks_to_slow_down

MIN_REFUSALS = 3
"""Refusals in a row that lead to a pause; a single one may be about the quota of one sender."""
MIN_PAUSE, MAX_PAUSE = 1.0, 60.0
"""Seconds."""
_PAUSE_SHARE = 0.15
"""A pause, as a share of the time since the first refusal: relays count by the second, the minute or the hour."""
_MIN_MEASURE = 60.0
"""Seconds over which the relay's rate is measured at least."""
_MAX_GAP = 2 * MAX_PAUSE
"""Seconds without an answer of the relay after which its rate is measured anew: there were no mails to send."""


class Throttle:
    """The pauses of an instance. The core gives it no mails meanwhile, and then one mail that may go on.

    ``warn`` logs once how many mails the relay takes.
    """

    def __init__(self, clock: Callable[[], float], warn: Callable[..., object]) -> None:
        self._clock = clock
        self._warn = warn
        self._refusals = 0
        """Refusals in a row."""
        self._refused_since = 0.0
        self._pause_ends = 0.0
        self._code = ""
        self._active_at = 0.0
        """When the relay last answered a mail."""
        self._measured_since: float | None = None
        self._taken = 0
        """Mails that the relay has taken since then."""
        self._warned = False

    def check(self) -> None:
        """Raise Unavailable in a pause."""
        pause = self._pause_ends - self._clock()
        if pause > 0:
            raise Unavailable("the relay takes no more mails for now", code=self._code, retry_after=pause)

    def note(self, error: Exception | None) -> None:
        """Note the outcome of a mail, None if the relay took it; set ``retry_after`` of a refusal that needs a pause."""
        now = self._clock()
        if now - self._active_at > _MAX_GAP:
            self._measured_since = None
        if error is None or isinstance(error, Rejected):
            self._refusals = 0
            self._taken += error is None
            self._active_at = now
        elif isinstance(error, Unavailable) and error.retry_after is None and asks_to_slow_down(error):
            self._active_at = now
            self._note_refusal(error, now)

    def _note_refusal(self, error: Unavailable, now: float) -> None:
        if not self._refusals:
            self._refused_since = now
        self._refusals += 1
        if self._refusals == MIN_REFUSALS:
            self._measure(error, now)
        if self._refusals < MIN_REFUSALS:
            return
        if now >= self._pause_ends:
            pause = (now - self._refused_since) * _PAUSE_SHARE
            self._pause_ends = now + min(max(pause, MIN_PAUSE), MAX_PAUSE)
            self._code = error.code
        error.retry_after = self._pause_ends - now

    def _measure(self, error: Unavailable, now: float) -> None:
        """Measure from one beginning of refusals to another one, a minute later or more, and warn of the rate."""
        if self._measured_since is None:
            self._measured_since, self._taken = now, 0
        seconds = now - self._measured_since
        if self._warned or seconds < _MIN_MEASURE or not self._taken:
            return
        self._warned = True
        self._warn(
            "relay_limits_rate",
            problem=f"the relay took {self._taken} mails in {seconds:.0f} seconds and refused more of them "
            f"({error.code}): set per_second to {self._taken / seconds:.2g}, for all replicas together",
        )
