"""Start-time fair queueing: in which order several claimants get the slots of one resource.

Each claimant has a tag, which grows with each slot that it gets; the lowest tag is next. A claimant that begins to wait
gets no credit for the time before: its tag is at least that of the group's clock, the lowest tag of those that waited
already. So two that wait all the time get the same number of slots, and one that waits seldom is served at once. (Goyal,
Vin and Cheng, "Start-time Fair Queueing", 1996.)
"""

from collections import defaultdict
from collections.abc import Collection, Hashable
from typing import TypeVar

Entry = TypeVar("Entry", bound=Hashable)


class FairQueueing:
    """The tags of all claimants, in groups: claimants of one group compete with each other."""

    def __init__(self) -> None:
        self._tags: defaultdict[tuple[Hashable, Hashable], float] = defaultdict(float)
        self._clocks: defaultdict[Hashable, float] = defaultdict(float)
        self._waiting: dict[Hashable, Collection[Hashable]] = {}
        """By group the claimants that waited at the last ``enter``."""

    def enter(self, group: Hashable, entries: Collection[Entry]) -> dict[Entry, float]:
        """Return the tags of the claimants of a group that wait now; there is at least one."""
        before = self._waiting.get(group, ())
        tags = [self._tags[group, entry] for entry in entries if entry in before]
        clock = self._clocks[group] = max([self._clocks[group], *([min(tags)] if tags else [])])
        result = {entry: max(clock, self._tags[group, entry]) for entry in entries}
        self._waiting[group] = result.keys()
        return result

    def charge(self, group: Hashable, entry: Hashable, cost: float) -> None:
        """Note that a claimant has used what costs this much."""
        self._tags[group, entry] = max(self._clocks[group], self._tags[group, entry]) + cost
