"""One request and its answer, as an ASGI application sees them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from itertools import chain
from typing import Any, Protocol

from gatepost.observe import logs
from gatepost.server.flow_control import FlowControl
from gatepost.web.body import BODY_ARRIVED

MAX_BUFFERED = 64 * 1024
"""Bytes of a body that the application has not taken; with more the connection is not read."""

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
"""Names and values; ASGI's names are in lower case."""

_STATUS_LINES = {one.value: b"HTTP/1.1 %d %b" % (one.value, one.phrase.encode()) for one in HTTPStatus}
_WITHOUT_BODY = frozenset({204, 304})

_log = logs.get(__name__)


class ExchangeOwner(Protocol):
    """What an Exchange needs of its connection."""

    transport: asyncio.Transport
    flow: FlowControl

    @property
    def default_headers(self) -> Headers:
        """The headers of every answer."""

    def end_exchange(self) -> None:
        """Go on after an answer is written."""


class Exchange:
    """A request whose head has come, and its answer."""

    def __init__(
        self, connection: ExchangeOwner, scope: dict[str, Any], *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        """Whether the connection stays open after the answer."""
        self.disconnected = False
        """Whether the client has closed the connection."""
        self.response_started = False
        self.response_complete = False
        self.body = bytearray()
        """What has arrived of the request's body and the application has not taken yet."""
        self._connection = connection
        self._expects_continue = expects_continue
        self._more_body = True
        self._is_taken = False
        """Whether the application has the whole body."""
        self._news: asyncio.Future[None] | None = None
        """Done when there is something to receive; None while the application does not wait."""
        self._head = b""
        """The head of the answer. It is sent with the first piece of the body: each write is a call of the system."""
        self._is_chunked = False
        self._left = 0
        """Bytes that the body of the answer still has, by its Content-Length."""

    async def run(self, app: Application) -> None:
        """Let the application answer; where it does not, answer 500, or 503 where a stop cancels it."""
        status = 500
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:  # noqa: BLE001  any error gets an answer
            if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                # uvicorn has logged how many requests it cancels.
                status = 503
            else:
                _log.error("internal_error", exc_info=error)
        if self.response_complete or self.disconnected:
            return
        if self.response_started:
            self._connection.transport.close()
            return
        headers = ((b"content-length", b"0"), (b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body"})

    def add(self, piece: bytes) -> None:
        """Take a piece of the request's body."""
        if self.response_complete:
            return
        self.body += piece
        if len(self.body) > MAX_BUFFERED:
            self._connection.flow.pause_reading()
        self._wake()

    def end_body(self) -> None:
        """Note that the request's body has ended."""
        self._more_body = False
        self.scope["extensions"][BODY_ARRIVED] = self._take_body
        self._wake()

    def _take_body(self) -> bytes:
        """Return what the application has not taken of a body that has arrived."""
        self._is_taken = True
        self._expects_continue = False
        body, self.body = bytes(self.body), bytearray()
        return body

    def disconnect(self) -> None:
        """Note that the client has closed the connection."""
        self.disconnected = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def receive(self) -> dict[str, Any]:
        """Return the next piece of the body, or that the client has disconnected or is answered."""
        transport, flow = self._connection.transport, self._connection.flow
        if self._expects_continue and not transport.is_closing():
            self._expects_continue = False
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.disconnected or self.response_complete):
            if self.body or not (self._more_body or self._is_taken):
                body, self.body = bytes(self.body), bytearray()
                self._is_taken = not self._more_body
                return {"type": "http.request", "body": body, "more_body": self._more_body}
            flow.resume_reading()
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Send the head or a piece of the body of the answer. Raises RuntimeError for what is not valid HTTP."""
        if self._connection.flow.write_paused and not self.disconnected:
            await self._connection.flow.drain()
        if self.disconnected:
            return
        expected = "http.response.body" if self.response_started else "http.response.start"
        if message["type"] != expected or self.response_complete:
            raise RuntimeError(f"{message['type']} is sent in the wrong place")
        if self.response_started:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            self._begin_answer(message["status"], message.get("headers", ()))

    def _begin_answer(self, status: int, headers: Headers) -> None:
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
        length: int | None = None
        for name, value in chain(self._connection.default_headers, headers):
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                self.keep_alive = self.keep_alive and b"close" not in value.lower()
                continue
            elif name == b"transfer-encoding":
                continue
            lines.append(b"%b: %b" % (name, value))
        is_chunked = length is None and status not in _WITHOUT_BODY and self.scope["method"] != "HEAD"
        if is_chunked:
            lines.append(b"transfer-encoding: chunked")
        head = b"\r\n".join(lines)
        if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
            raise RuntimeError("a header of the answer has a control character")
        self._head, self._left, self._is_chunked = head, length or 0, is_chunked
        self.response_started = True
        self._expects_continue = False

    def _send_body(self, piece: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            piece = b""
        elif self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
            piece = chunk if more else chunk + b"0\r\n\r\n"
        else:
            self._left -= len(piece)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the body of the answer is not as long as its Content-Length")
        if self._head:
            end = b"\r\n\r\n" if self.keep_alive else b"\r\nconnection: close\r\n\r\n"
            piece = self._head + end + piece
            self._head = b""
        if piece:
            self._connection.transport.write(piece)
        if not more:
            self._end_answer()

    def _end_answer(self) -> None:
        self.response_complete = True
        self._wake()
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.end_exchange()


def _is_being_cancelled() -> bool:
    """Tell whether somebody cancels this task, and not only what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
