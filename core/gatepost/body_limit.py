"""A limit on the bytes of all request bodies in memory."""

from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[Any]]
"""The ``receive`` callable of ASGI."""


class BodyLimitReached(Exception):
    """There is no memory left for another body; the client has to try again later."""


class BodyLimit:
    """A count of the bytes of request bodies that were read and whose requests are not answered yet.

    A body that was only announced does not count: otherwise a client that sends slowly could take the place of
    others for as long as it likes.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0
        """Bytes in memory now."""

    def counting(self, receive: Receive, announced: int) -> "CountedBody":
        """Return a context whose value is the ``receive`` of one request; the bytes that it reads count until the end.

        It raises BodyLimitReached as soon as the limit is passed, and before it reads anything where the
        ``announced`` bytes would pass it.
        """
        return CountedBody(self, receive, announced)


class CountedBody:
    """The body of one request, while it counts for a BodyLimit."""

    __slots__ = ("_announced", "_limit", "_receive", "_size")

    def __init__(self, limit: BodyLimit, receive: Receive, announced: int) -> None:
        self._limit = limit
        self._receive = receive
        self._announced = announced
        self._size = 0

    def __enter__(self) -> Receive:
        return self._read

    def __exit__(self, *_error: object) -> None:
        self._limit.used -= self._size

    async def _read(self) -> Any:
        limit = self._limit
        if limit.used + self._announced - self._size > limit.max_bytes:
            raise BodyLimitReached
        event = await self._receive()
        piece = len(event.get("body", b""))
        self._size += piece
        limit.used += piece
        if limit.used > limit.max_bytes:
            raise BodyLimitReached
        return event
