"""What people are to be told: which problems have begun, last or are over, compared with what they were told before."""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import msgspec

from gatepost.upkeep.problems import Problem

SETTLE = 60.0
"""Seconds for which a problem must last, or be over, before anybody is told: what comes and goes is no news."""

REMIND_AFTER = 86_400.0
"""Seconds after which people are reminded of a problem that lasts."""

_Key = tuple[str, str]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A problem that people were told of, and that is not over for them. Times in seconds since the epoch."""

    kind: str
    subject: str
    text: str
    cure: str
    began_at: float
    told_at: float


class News(Enum):
    """What became of a problem."""

    BEGAN = "New"
    LASTS = "Still there"
    OVER = "Over"


class Change(NamedTuple):
    """One thing to tell."""

    news: News
    told: Told
    """The problem as it will be remembered."""


class Changes:
    """The problems of one scope, and what people know of them."""

    def __init__(self) -> None:
        self.sent_at = 0.0
        """When the last message about them was sent, or tried."""
        self._told: dict[_Key, Told] = {}
        self._present: dict[_Key, Problem] = {}
        self._differs: dict[_Key, float] = {}
        """Since when a problem is there and untold, or told and not there."""

    def load(self, state: str, now: float) -> None:
        """Continue from a state that another gateway, or this one before its restart, has stored."""
        stored = msgspec.json.decode(state, type=_State) if state else _State()
        # A clock that was set back must not silence the alerts.
        self.sent_at = min(stored.sent_at, now)
        self._told = {(one.kind, one.subject): one for one in stored.told}

    def state(self) -> str:
        """Return the state, to be stored."""
        return msgspec.json.encode(_State(sent_at=self.sent_at, told=list(self._told.values()))).decode()

    def update(self, problems: Iterable[Problem], now: float) -> None:
        """Take note of the problems that there are now."""
        self._present = {(one.kind, one.subject): one for one in problems}
        different = self._present.keys() ^ self._told.keys()
        self._differs = {key: min(now, self._differs.get(key, now)) for key in different}

    def due(self, now: float) -> list[Change]:
        """Return what is to be told now; it stays due until ``mark_told``."""
        settled = [key for key, since in self._differs.items() if now - since >= SETTLE]
        began = [
            Change(News.BEGAN, _told(self._present[key], self._differs[key], now))
            for key in settled
            if key in self._present
        ]
        over = [Change(News.OVER, self._told[key]) for key in settled if key not in self._present]
        lasts = [
            Change(News.LASTS, _told(self._present[key], one.began_at, now))
            for key, one in self._told.items()
            if key in self._present and not 0 <= now - one.told_at < REMIND_AFTER
        ]
        return [*began, *lasts, *over]

    def mark_told(self, changes: Iterable[Change]) -> None:
        """Remember that people were told these changes."""
        for news, told in changes:
            key = told.kind, told.subject
            self._differs.pop(key, None)
            if news is News.OVER:
                self._told.pop(key, None)
            else:
                self._told[key] = told


class _State(msgspec.Struct, frozen=True, kw_only=True):
    sent_at: float = 0.0
    told: list[Told] = []


def _told(problem: Problem, began_at: float, now: float) -> Told:
    return Told(
        kind=problem.kind,
        subject=problem.subject,
        text=problem.text,
        cure=problem.cure,
        began_at=began_at,
        told_at=now,
    )
