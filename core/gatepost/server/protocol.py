"""One HTTP connection: which requests are read, in which order they are answered, and when it is closed.

uvicorn never closes a connection that sends nothing or sends slowly, queues any number of pipelined requests, and
writes a log line for each invalid one. The class here puts a limit on each of these.
"""

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Any, cast

from gatepost.server.connection_limits import ConnectionLimits
from gatepost.server.exchange import Exchange, Headers
from gatepost.server.flow_control import FlowControl
from gatepost.server.parsing import InvalidRequest, StrictHttpProtocol, end_of_requests
from gatepost.server.uvicorn_api import Config, ServerState

CLIENT_TIMEOUT = 10.0
"""Seconds that a client has to send a request's head, to send the rest of a body that no handler reads, and to
read an answer.
"""
IDLE_TIMEOUT = 75.0
"""Seconds that a connection stays open between two requests. Proxies keep their connections for a shorter time."""
MAX_PIPELINED = 32
"""Requests of one connection that wait for an earlier answer; further ones are not read from the socket."""
MAX_PIPELINED_BYTES = 64 * 1024
"""Bytes of bodies that wait for an earlier answer: their client is not authenticated yet."""


class Connection(StrictHttpProtocol):
    """One connection, which at any time waits for its client, is idle, or has a request in progress.

    It has more than 15 methods because eight of them are callbacks of asyncio and of uvicorn.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002  uvicorn's
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__()
        self._app = config.loaded_app
        self._loop = asyncio.get_running_loop()
        self._limits = cast("ConnectionLimits", server_state)
        self.transport: asyncio.Transport
        self.flow: FlowControl
        self.pipeline: deque[Exchange] = deque()
        """The requests that wait for an earlier answer."""
        self._received = b""
        """The last bytes received, some of which are not parsed yet because too many requests are waiting."""
        self._parsed = 0
        """How many bytes of ``_received`` are parsed."""
        self._current: Exchange | None = None
        """The request that the application has begun to answer."""
        self._last: Exchange | None = None
        """The request whose answer closes the connection during a shutdown."""
        self._reading_ended = False
        """Whether no further request is read; the connection closes after the answers that it still has to give."""

    @property
    def is_new(self) -> bool:
        """Whether no whole request has come yet."""
        return self.newest is None

    @property
    def default_headers(self) -> Headers:
        """The headers of every answer."""
        return self._limits.default_headers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.flow = FlowControl(transport)
        self.client = _address(transport, "peername")
        self._is_encrypted = transport.get_extra_info("sslcontext") is not None
        self._addresses = {
            "server": _address(transport, "sockname"),
            "scheme": "https" if self._is_encrypted else "http",
        }
        # uvicorn's annotation lists its own classes.
        self._limits.connections.add(cast("Any", self))
        self._wait_for_client()
        self._limits.make_room(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._limits.waiting.pop(self, None)
        self._limits.idle.pop(self, None)
        self._limits.connections.discard(self)
        for exchange in (self._current, self.newest):
            if exchange is not None:
                exchange.disconnect()
        self.flow.resume_writing()
        # The parser and the exchanges refer to the connection: without these circles it is freed at once.
        del self._parser
        self._current = self.newest = None

    def eof_received(self) -> bool | None:
        """Keep the connection open while the client still has to get answers; TLS has no half-closed state."""
        if self._is_encrypted or not self._drop_unfinished_request():
            return None
        self._close_after_answers()
        return True

    def data_received(self, data: bytes) -> None:
        self._received = self._received[self._parsed :] + data
        self._parsed = 0
        self._parse_received()

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self._update_deadline()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self._update_deadline()

    def abort(self) -> None:
        """Close the connection at once, without the answers that it still has to give."""
        self._limits.waiting.pop(self, None)
        self._limits.idle.pop(self, None)
        self.transport.abort()

    def close_after_newest_answer(self) -> None:
        """Let the newest request's answer say ``connection: close`` and end the connection."""
        newest = self.newest
        if newest is None or newest.response_complete or not newest.keep_alive:
            return
        if self._last is not None and not self._last.response_started:
            # Another request has come behind the one that was the newest.
            self._last.keep_alive = True
        newest.keep_alive = False
        self._last = newest

    def shutdown(self) -> None:
        """Close the connection after the answers that it still has to give; uvicorn calls this at the end of a shutdown."""
        if self.newest is None or self.newest.response_complete:
            self.transport.close()
        else:
            self.newest.keep_alive = False

    def _parse_received(self) -> None:
        """Parse what was received until too many requests wait; then stop reading from the client."""
        late = self._loop.time() > self._limits.read_until
        # A body that a handler is waiting for may still arrive.
        if late and not self._reading_ended and (self.pipeline or not self._in_body):
            self._drop_unfinished_request()
            self._close_after_answers()
        while self._parsed < len(self._received) and not self._reading_ended:
            free = MAX_PIPELINED - len(self.pipeline)
            if not free or sum(len(one.body) for one in self.pipeline) > MAX_PIPELINED_BYTES:
                self.flow.block_reading()
                return
            end = end_of_requests(self._received, self._parsed, free)
            try:
                self._parsed += self._parse(self._received[self._parsed : end])
            except InvalidRequest as invalid:
                self._refuse(invalid)
            else:
                if self._in_head and not self._has_unanswered():
                    self._wait_for_client()
                if self._limits.draining:
                    self.close_after_newest_answer()
        self._received, self._parsed = b"", 0
        self.flow.blocked = False
        if self._reading_ended:
            # After each answer that is still to be given, the connection reads once more and drops the bytes. Bytes
            # that are unread when the connection closes would make the system drop the answers.
            self.flow.pause_reading()

    def _begin(self, scope: dict[str, Any], *, keep_alive: bool, expects_continue: bool) -> Exchange:
        exchange = Exchange(self, scope, keep_alive=keep_alive, expects_continue=expects_continue)
        if self._has_unanswered():
            self.flow.pause_reading()
            self.pipeline.appendleft(exchange)
        else:
            self._start(exchange)
        return exchange

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        task = self._loop.create_task(exchange.run(self._app))
        self._limits.tasks.add(task)
        task.add_done_callback(self._limits.tasks.discard)

    def end_exchange(self) -> None:
        """Go on with the next request after an answer."""
        self._limits.total_requests += 1
        if self.transport.is_closing():
            self._wait_for_client()
            return
        if self.pipeline:
            self._start(self.pipeline.pop())
        # Not after each answer: parsing a few lines at a time costs much more.
        if len(self.pipeline) <= MAX_PIPELINED // 2 or self._limits.draining or self._reading_ended:
            self._parse_received()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._update_deadline()

    def _has_unanswered(self) -> bool:
        """Return whether the application still has to answer a request."""
        current = self._current
        return bool(self.pipeline) or (current is not None and not current.response_complete)

    def _update_deadline(self) -> None:
        has_unanswered = self._has_unanswered()
        # A client that does not read its answers has its deadline, even if it sends further requests meanwhile.
        if self.flow.write_paused or (not has_unanswered and (self._in_head or self._in_body)):
            self._wait_for_client()
            return
        self._limits.waiting.pop(self, None)
        self._limits.idle.pop(self, None)
        if not has_unanswered:
            self._limits.idle[self] = self._loop.time() + IDLE_TIMEOUT

    def _wait_for_client(self) -> None:
        self._limits.idle.pop(self, None)
        self._limits.waiting.setdefault(self, self._loop.time() + CLIENT_TIMEOUT)

    def _close(self) -> None:
        """Close when the client has read every answer; it has CLIENT_TIMEOUT seconds for that."""
        self.transport.close()
        self._wait_for_client()

    def _close_after_answers(self) -> None:
        """Read no further request, and close after the answers that the connection still has to give."""
        self._reading_ended = True
        if self._has_unanswered() and self.newest is not None:
            self.newest.keep_alive = False
        else:
            self._close()

    def _refuse(self, invalid: InvalidRequest) -> None:
        """Give the answers to earlier requests, or else say what is wrong with this one; then close."""
        self._limits.log_invalid_request(
            self.client[0] if self.client else "", invalid.status, invalid.problem
        )
        if self._drop_unfinished_request():
            self._close_after_answers()
            return
        self._reading_ended = True
        if not (self._in_body and self.newest and self.newest.response_started):
            body = f"{invalid.problem}\n".encode()
            head = (
                f"HTTP/1.1 {invalid.status} {HTTPStatus(invalid.status).phrase}\r\n"
                f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
                "connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self._close()

    def _drop_unfinished_request(self) -> bool:
        """Forget a request whose body will never be complete; return whether an earlier one has no answer yet."""
        if self._in_body:
            if not self.pipeline:
                return False
            self.pipeline.popleft()
            self.newest = self.pipeline[0] if self.pipeline else self._current
            self._in_body = False
        return self._has_unanswered()


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    """Return the address and the port of one end of a connection; None where they have none."""
    address = transport.get_extra_info(name)
    return (address[0], address[1]) if isinstance(address, tuple) else None
