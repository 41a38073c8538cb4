"""A limit on the bytes of all request bodies in memory."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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

    @contextmanager
    def counting(self, receive: Receive, announced: int) -> Iterator[Receive]:
        """Yield the ``receive`` of one request; the bytes that it reads count until the block ends.

        It raises BodyLimitReached as soon as the limit is passed, and before it reads anything where the
        ``announced`` bytes would pass it.
        """
        size = 0

        async def counted() -> Any:
            nonlocal size
            if self.used + announced - size > self.max_bytes:
                raise BodyLimitReached
            event = await receive()
            chunk = len(event.get("body", b""))
            size += chunk
            self.used += chunk
            if self.used > self.max_bytes:
                raise BodyLimitReached
            return event

        try:
            yield counted
        finally:
            self.used -= size
