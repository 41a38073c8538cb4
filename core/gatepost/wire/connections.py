"""Connections that carry one request at a time."""

import asyncio
import ssl
from typing import Literal, cast

from gatepost.wire.answers import Answer, AnswerReader, BadAnswer


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
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection is closed."""
        self._transport: asyncio.Transport
        self._reader: AnswerReader | None = None
        self._answered: asyncio.Future[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    async def exchange(self, request: bytes, reader: AnswerReader, deadline: float) -> Answer:
        """Send a request and return its answer; ``deadline`` is a time of the loop. The connection must be usable.

        Raises LostRequest. After any error, also when it is cancelled, the connection is closed.
        """
        await self._send(request, reader, deadline)
        # A server that answers before it has read all of the request may never read the rest.
        if not reader.keeps_connection or self._transport.get_write_buffer_size():
            self.close()
        return reader.answer

    async def open_tunnel(
        self, authority: str, authorization: str, tls: ssl.SSLContext, host: str, deadline: float
    ) -> None:
        """Let a proxy connect to ``authority``, and set up TLS with ``host`` through it.

        Raises LostRequest, NoConnection for a proxy that refuses, and OSError for TLS.
        """
        login = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
        request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n".encode()
        reader = AnswerReader(0, ends_at_head=True)
        await self._send(request, reader, deadline)
        if not 200 <= reader.answer.status < 300:
            raise NoConnection("proxy", reader.answer.status)
        if not self.is_usable:
            raise NoConnection("proxy")
        transport = await self._loop.start_tls(self._transport, self, tls, server_hostname=host)
        assert transport is not None
        self._transport = transport

    async def _send(self, request: bytes, reader: AnswerReader, deadline: float) -> None:
        self._reader = reader
        self._answered = answered = self._loop.create_future()
        timer = self._loop.call_at(deadline, self._fail, "timeout")
        try:
            self._transport.write(request)
            await answered
        except BaseException:
            self.abort()
            raise
        finally:
            timer.cancel()
            self._reader = self._answered = None

    def idle(self, seconds: float) -> None:
        """Close the connection after so many seconds, unless ``stop_idling`` is called."""
        self._idle_timer = self._loop.call_later(seconds, self.close)

    def stop_idling(self) -> None:
        """Keep the connection open again."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

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
        if self._reader is None or self._answered is None:
            # Nothing was asked for: what comes would be taken for the answer to the next request.
            self.abort()
            return
        try:
            is_complete = self._reader.feed(data)
        except BadAnswer:
            self._fail("bad answer")
            return
        if is_complete and not self._answered.done():
            self._answered.set_result(None)

    def eof_received(self) -> None:
        """End the connection, and the answer where it ends with it."""
        self.is_usable = False
        self._end()

    def connection_lost(self, error: Exception | None) -> None:
        """End the connection."""
        self.is_usable = False
        self.stop_idling()
        if error is None:
            self._end()
        self._fail("lost")
        self.lost.set_result(None)

    def _end(self) -> None:
        if self._reader is None or self._answered is None or self._answered.done():
            return
        try:
            self._reader.feed_end()
        except BadAnswer:
            self._fail("lost")
        else:
            self._answered.set_result(None)

    def _fail(self, kind: Literal["timeout", "lost", "bad answer"]) -> None:
        if self._answered is not None and not self._answered.done():
            is_answered = self._reader is not None and self._reader.has_begun
            self._answered.set_exception(LostRequest(kind, is_answered=is_answered))
