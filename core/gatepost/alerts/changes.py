"""What people are to be told: which problems have begun, last or are over, compared with what they were told before."""

from collections.abc import Collection, Iterable
from enum import Enum
from typing import NamedTuple

import msgspec

from gatepost.upkeep.problems import Problem

SETTLE = 60.0
"""Seconds for which a problem must last, or be over, before anybody is told: what comes and goes is no news."""

REMIND_AFTER = 86_400.0
"""Seconds after which people are reminded of a problem that lasts."""

Key = tuple[str, str]
"""The kind and the subject of a problem."""


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A problem that people were told of, and that is not over for them. Times in seconds since the epoch."""

    urgency: int
    kind: str
    subject: str
    text: str
    cure: str
    began_at: float
    announced_at: float


class News(Enum):
    """What became of a problem."""

    BEGAN = "New"
    LASTS = "Still there"
    OVER = "Over"


class Change(NamedTuple):
    """One thing to tell."""

    news: News
    announcement: Announcement
    """The problem as it will be remembered."""


class Changes:
    """The problems of one scope, and what people know of them."""

    def __init__(self) -> None:
        self.sent_at = 0.0
        """When the last message about them was sent, or tried."""
        self._announced: dict[Key, Announcement] = {}
        self._present: dict[Key, Problem] = {}
        self._differs: dict[Key, float] = {}
        """Since when a problem is there and untold, or told and not there."""

    def load(self, state: str, now: float) -> None:
        """Continue from a state that another gateway, or this one before its restart, has stored."""
        try:
            stored = msgspec.json.decode(state or "{}", type=_State)
        except msgspec.DecodeError:
            # Of another version: better told once more than never.
            stored = _State()
        # A clock that was set back must not silence the alerts.
        self.sent_at = min(stored.sent_at, now)
        self._announced = {(one.kind, one.subject): one for one in stored.announced}
        self._present = {}
        self._differs = {}

    @property
    def announced(self) -> Collection[Key]:
        """The problems that people were told of, and that are not over for them."""
        return self._announced.keys()

    def state(self) -> str:
        """Return the state, to be stored."""
        return msgspec.json.encode(
            _State(sent_at=self.sent_at, announced=list(self._announced.values()))
        ).decode()

    def update(self, problems: Iterable[Problem], now: float) -> None:
        """Take note of the problems that there are now."""
        self._present = {(one.kind, one.subject): one for one in problems}
        different = self._present.keys() ^ self._announced.keys()
        self._differs = {key: min(now, self._differs.get(key, now)) for key in different}

    def due(self, now: float) -> list[Change]:
        """Return what is to be told now; it stays due until ``mark_announced``."""
        settled = [key for key, since in self._differs.items() if now - since >= SETTLE]
        began = [
            Change(News.BEGAN, _announcement(self._present[key], self._differs[key], now))
            for key in settled
            if key in self._present
        ]
        over = [Change(News.OVER, self._announced[key]) for key in settled if key not in self._present]
        lasts = [
            Change(News.LASTS, _announcement(self._present[key], one.began_at, now))
            for key, one in self._announced.items()
            if key in self._present and not 0 <= now - one.announced_at < REMIND_AFTER
        ]
        return [*began, *lasts, *over]

    def mark_announced(self, changes: Iterable[Change]) -> None:
        """Remember that people were told these changes."""
        for news, one in changes:
            key = one.kind, one.subject
            self._differs.pop(key, None)
            if news is News.OVER:
                self._announced.pop(key, None)
            else:
                self._announced[key] = one


class _State(msgspec.Struct, frozen=True, kw_only=True):
    sent_at: float = 0.0
    announced: list[Announcement] = []


def _announcement(problem: Problem, began_at: float, now: float) -> Announcement:
    return Announcement(
        urgency=problem.urgency,
        kind=problem.kind,
        subject=problem.subject,
        text=problem.text,
        cure=problem.cure,
        began_at=began_at,
        announced_at=now,
    )
