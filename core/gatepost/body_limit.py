"""A limit on the bytes of all request bodies in memory."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

Receive = Callable[[], Awaitable[Any]]
"""ASGI's."""


class BodyLimitReached(Exception):
    """There is no room for a further body; its sender tries again."""


class BodyLimit:
    """Counts the bytes of the bodies that were read and whose requests are not answered yet.

    A body that was only announced counts for nothing: otherwise it would cost others their place for as long as
    its sender likes.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    @contextmanager
    def holding(self, receive: Receive, announced: int) -> Iterator[Receive]:
        """Give the ``receive`` of one request; what it brings counts until the block ends.

        It raises BodyLimitReached as soon as there is no room: before it reads anything where the request announces more
        bytes than may come.
        """
        held = 0

        async def counted() -> Any:
            nonlocal held
            if self.held + announced - held > self.most:
                raise BodyLimitReached
            event = await receive()
            size = len(event.get("body", b""))
            held += size
            self.held += size
            if self.held > self.most:
                raise BodyLimitReached
            return event

        try:
            yield counted
        finally:
            self.held -= held
