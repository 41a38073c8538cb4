"""Whose an address or a number is: a search through all contacts, because the index is for ids alone.

An index of addresses would take half as long to build as the whole file takes to read, and a third of its memory, for a
question that is seldom asked. Questions that wait while a search runs share the next one.
"""

import asyncio
from collections.abc import Callable, Sequence

from gatepost.model import Channel, Secret
from gatepost_csv.spellings import Spellings, spellings

Question = tuple[Channel, Secret]

Search = Callable[[Sequence[Spellings]], Sequence[Sequence[str]]]
"""Returns the ids of the users for each of these; it blocks."""


class _Batch:
    """Questions that are answered by one search."""

    def __init__(self) -> None:
        self.questions: dict[Question, None] = {}
        self.answers: dict[Question, Sequence[str]] | None = None


class AddressSearch:
    """Searches in a thread, one at a time."""

    def __init__(self, search: Search, region: str) -> None:
        """``region`` is that of numbers without a country code, where they are allowed."""
        self._search = search
        self._region = region
        self._lock = asyncio.Lock()
        self._next = _Batch()

    async def find(self, channel: Channel, recipient: Secret) -> Sequence[str]:
        """Return the ids of the users; raises what the search raises."""
        batch = self._next
        batch.questions[channel, recipient] = None
        async with self._lock:
            if batch is self._next:
                self._next = _Batch()
            # Where the task that began to answer was cancelled, the next one begins anew.
            if batch.answers is None:
                batch.answers = await asyncio.to_thread(self._answer, list(batch.questions))
        return batch.answers[channel, recipient]

    def _answer(self, questions: Sequence[Question]) -> dict[Question, Sequence[str]]:
        wanted = [spellings(channel, recipient.reveal(), self._region) for channel, recipient in questions]
        return dict(zip(questions, self._search(wanted), strict=True))
