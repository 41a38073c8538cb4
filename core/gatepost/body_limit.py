"""A limit on the bytes of all request bodies in memory."""

from typing import Self


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

    def counting(self, announced: int) -> "CountedBody":
        """Return a context for the body of one request, of which ``announced`` bytes are to come; see CountedBody."""
        return CountedBody(self, announced)


class CountedBody:
    """The bytes of one request's body, which count for a BodyLimit until this context ends."""

    __slots__ = ("_announced", "_limit", "_size")

    def __init__(self, limit: BodyLimit, announced: int) -> None:
        self._limit = limit
        self._announced = announced
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._limit.used -= self._size

    def add(self, size: int) -> None:
        """Count bytes that were read; raises BodyLimitReached where the limit is passed, or the rest would pass it.

        With 0, before anything is read, it raises where the announced bytes would pass the limit.
        """
        self._size += size
        self._limit.used += size
        if self._limit.used + max(0, self._announced - self._size) > self._limit.max_bytes:
            raise BodyLimitReached
