"""Reading a request's body, with a deadline and a limit on its size."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from litestar.types import Receive, Scope

BODY_TIMEOUT = 10.0
"""Seconds that a body may take to arrive."""

BODY_ARRIVED = "gatepost.body_arrived"
"""The ASGI extension that a request has once its whole body has arrived: a function that returns the body.

Nearly every body comes with its head. ASGI's messages and a deadline for them would cost as much as to decode it.
"""

_IDENTITY = frozenset({b"", b"identity"})
_ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"compress"})


class BodyHeaders(NamedTuple):
    """What a request's headers say about its body."""

    length: int
    """The Content-Length; 0 where there is none."""
    encoding: str
    """The Content-Encoding; empty where the body is not encoded."""


class BodyTooLarge(Exception):
    """A body is larger than the limit."""


class ClientDisconnected(Exception):
    """The client closed the connection before the body was complete."""


def body_headers(headers: Iterable[tuple[bytes, bytes]]) -> BodyHeaders:
    """Return what the headers say about the body."""
    length, encoding = 0, ""
    for key, value in headers:
        if key == b"content-length":
            if value.isdigit():
                length = max(length, int(value[:19]))
        elif key == b"content-encoding" and (stated := value.strip(b" \t").lower()) not in _IDENTITY:
            # Only a registered name is repeated in answers and logs: anything else may hold personal data.
            encoding = stated.decode() if stated in _ENCODINGS else "(unknown)"
    return BodyHeaders(length, encoding)


async def read_body(
    scope: Scope, receive: Receive, length: int, limit: int, count: Callable[[int], None] = lambda _size: None
) -> bytes:
    """Read the whole body, without decoding it.

    ``length`` is the Content-Length, 0 where there is none. ``count`` is called with 0 before anything is read, and with
    the size of each piece; what it raises is raised here. Raises BodyTooLarge, TimeoutError or ClientDisconnected.
    """
    if length > limit:
        raise BodyTooLarge
    if take := cast("Any", scope).get("extensions", {}).get(BODY_ARRIVED):
        body: bytes = take()
        count(len(body))
        if len(body) > limit:
            raise BodyTooLarge
        return body
    async with asyncio.timeout(BODY_TIMEOUT):
        return await _read_pieces(receive, limit, count)


async def _read_pieces(receive: Receive, limit: int, count: Callable[[int], None]) -> bytes:
    pieces: list[bytes] = []
    size = 0
    count(0)
    while True:
        event = cast("Any", await receive())
        if event["type"] != "http.request":
            raise ClientDisconnected
        piece = event.get("body", b"")
        size += len(piece)
        count(len(piece))
        if size > limit:
            raise BodyTooLarge
        pieces.append(piece)
        if not event.get("more_body", False):
            return b"".join(pieces)
