"""The messages that wait because the key of their content is not configured, as this process knows them."""

import time
from collections import Counter
from collections.abc import Callable, Mapping

from gatepost.observe import logs

MAX_DELAY = 300.0
"""Seconds until a message is claimed again, at most: so much later it goes on when the key is back."""

_FORGET_AFTER = 2 * MAX_DELAY
"""Seconds after which a message that was not claimed again does not count: another replica has the key, or it ended."""

_MAX_MESSAGES = 100_000

_log = logs.get(__name__)


class MissingKeys:
    """Which keys are missing, and how many messages wait for each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, tuple[str, float]] = {}
        self._logged: set[str] = set()

    def note(self, message_id: str, key: str) -> None:
        """Note that a message waits for a key; the log says so once for each key."""
        if len(self._waiting) < _MAX_MESSAGES or message_id in self._waiting:
            self._waiting[message_id] = key, self._clock()
        if key not in self._logged:
            self._logged.add(key)
            _log.error("content_key_missing", key=key, message=message_id)

    def reset(self) -> None:
        """Begin anew, with other keys."""
        self._waiting.clear()
        self._logged.clear()

    def counts(self) -> Mapping[str, int]:
        """Return how many messages wait for each missing key, by the id of the key."""
        since = self._clock() - _FORGET_AFTER
        self._waiting = {one: (key, at) for one, (key, at) in self._waiting.items() if at > since}
        return Counter(key for key, _ in self._waiting.values())
