"""The messages that wait because the key of their content is not configured, as this process knows them."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from gatepost.observe import logs

FORGET_AFTER = 600.0
"""Seconds after which a message that was not claimed again does not count: another replica had the key, or it ended.
While it waits, it is claimed at least twice in that time."""

_MAX_MESSAGES = 100_000
"""Messages that are counted; with more the number is too low."""

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

    def counts(self, listed: Collection[str]) -> Mapping[str, int]:
        """Return how many messages wait for each missing key, by the id of the key.

        ``listed`` are the configured keys: a message that was claimed right before a reload may be noted after it.
        """
        since = self._clock() - FORGET_AFTER
        self._waiting = {
            one: (key, at) for one, (key, at) in self._waiting.items() if at > since and key not in listed
        }
        return Counter(key for key, _ in self._waiting.values())
