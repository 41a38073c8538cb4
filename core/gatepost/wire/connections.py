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
        self._tcp: asyncio.Transport
        """The transport below TLS, where there is TLS."""
        self._reader: AnswerReader | None = None
        self._answered: asyncio.Future[None] | None = None

    async def exchange(self, request: bytes, reader: AnswerReader) -> None:
        """Send a request, and wait until ``reader`` has its answer.

        Raises NoConnection when the connection is not usable, and LostRequest. After any error, also when it is cancelled,
        the connection is closed. Otherwise it is usable if it may carry another request.
        """
        if not self.is_usable:
            # The server has closed it, or has spoken first. Where it is closed, no answer would ever come.
            self.abort()
            raise NoConnection("connect")
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
        if self._transport.get_write_buffer_size() or self._tcp.get_write_buffer_size():
            # A server that answers before it has read all of the request may never read the rest.
            self.abort()
        elif not reader.keeps_connection:
            self.close()

    async def start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """Set up TLS with ``host`` over the connection; raise OSError."""
        transport = None
        if self.is_usable:
            transport = await self._loop.start_tls(self._tcp, self, tls, server_hostname=host)
        if transport is None:
            # The connection was closed before or meanwhile.
            raise ConnectionResetError
        self._transport = transport

    def expire(self) -> None:
        """End the request in flight as one that timed out, or an idle connection; end the wait for its end of TLS."""
        if self._answered is not None:
            self._fail("timeout")
        elif self.is_usable:
            self.close()
        else:
            self.abort()

    def close(self) -> None:
        """Close the connection; over TLS this waits until the server has ended TLS too."""
        self.is_usable = False
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once; a request in flight is lost."""
        self.is_usable = False
        # Before the end that the server has no part in is taken for the end of an answer.
        self._fail("lost")
        self._tcp.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport: called by asyncio, as are the following methods."""
        self._transport = self._tcp = cast("asyncio.Transport", transport)
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
