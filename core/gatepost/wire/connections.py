"""Connections that carry one request at a time."""

import asyncio
import math
import ssl
from typing import Literal, cast

from gatepost.wire.answers import AnswerReader, BadAnswer


class NoConnection(Exception):
    """There was no connection, so not one byte of the request has left."""

    def __init__(
        self,
        kind: Literal["resolve", "refused", "connect", "tls", "proxy", "timeout", "closed"],
        status: int = 0,
    ) -> None:
        """``refused``: the address must not be connected to. ``status``: the answer of the proxy."""
        super().__init__(kind)
        self.kind = kind
        self.status = status


class LostRequest(Exception):
    """The request has begun to leave, and no answer came."""

    def __init__(self, kind: Literal["timeout", "lost", "bad answer"], *, is_answered: bool = False) -> None:
        """``is_answered``: a part of an answer had come."""
        super().__init__(kind)
        self.kind = kind
        self.is_answered = is_answered


class Connection(asyncio.Protocol):
    """A connection to a server or a proxy."""

    def __init__(self) -> None:
        self.is_usable = False
        """Whether it is open, and has had nothing but whole answers."""
        self.due = math.inf
        """The time of the loop at which ``expire`` is to be called."""
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection is closed."""
        self._transport: asyncio.Transport
        self._reader: AnswerReader | None = None
        self._answered: asyncio.Future[None] | None = None

    async def exchange(self, request: bytes, reader: AnswerReader) -> None:
        """Send a request, and wait until ``reader`` has its answer. The connection must be usable.

        Raises LostRequest. After any error, also when it is cancelled, the connection is closed. Otherwise it is usable if
        it may carry another request.
        """
        self._reader = reader
        self._answered = self._loop.create_future()
        try:
            self._transport.write(request)
            await self._answered
        except BaseException:
            self.abort()
            raise
        finally:
            self._reader = self._answered = None
        # A server that answers before it has read all of the request may never read the rest.
        if not reader.keeps_connection or self._transport.get_write_buffer_size():
            self.close()

    async def start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """Set up TLS with ``host`` over the connection; raise OSError."""
        transport = await self._loop.start_tls(self._transport, self, tls, server_hostname=host)
        assert transport is not None
        self._transport = transport

    def expire(self) -> None:
        """End the request in flight as one that timed out, or close an idle connection."""
        if self._answered is None:
            self.close()
        else:
            self._fail("timeout")

    def close(self) -> None:
        """Close the connection after what was written has left."""
        self.is_usable = False
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self.is_usable = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport: called by asyncio, as are the following methods."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_usable = True

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._reader is None:
            # Nothing was asked for: what comes would be taken for the answer to the next request.
            self.abort()
            return
        try:
            if self._reader.feed(data):
                self._succeed()
        except BadAnswer:
            self._fail("bad answer")

    def eof_received(self) -> None:
        """End the connection, and the answer where it ends with it."""
        self.is_usable = False
        try:
            if self._reader is not None and self._reader.feed_end():
                self._succeed()
        except BadAnswer:
            self._fail("lost")

    def connection_lost(self, error: Exception | None) -> None:
        """End the connection."""
        if error is None:
            self.eof_received()
        self.is_usable = False
        self._fail("lost")
        self.lost.set_result(None)

    def _succeed(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def _fail(self, kind: Literal["timeout", "lost", "bad answer"]) -> None:
        if self._answered is not None and not self._answered.done():
            is_answered = self._reader is not None and self._reader.has_begun
            self._answered.set_exception(LostRequest(kind, is_answered=is_answered))
