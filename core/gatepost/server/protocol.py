"""HTTP at the door: uvicorn's protocol, with an end to everything that a caller could go on with for ever.

Uvicorn cuts neither slow nor endless headers, never closes a connection that says nothing, takes a body's
trailers for headers, queues pipelined requests without end, and writes a log line for each bad one.
"""

import asyncio
import math
import re
import time
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle

HEAD_DEADLINE = 10.0
"""Seconds for a request's head, for the rest of a body that nobody reads, and for taking an answer."""
IDLE_DEADLINE = 75.0
"""Seconds that a connection is kept between two requests; more than proxies keep theirs."""
HEAD_BYTES = 32 * 1024
"""Bytes of a head, and of whatever in a body is not body: trailers, chunk extensions."""
HEADERS = 128
PIPELINED = 32
"""Requests of one connection that wait for the answer to an earlier one; what comes behind them is not read."""
PIPELINED_BYTES = 64 * 1024
"""Bytes of bodies that may wait behind a request; their caller is not admitted yet."""
SHORTEST = 16
"""Bytes that no request is shorter than: ``GET / HTTP/1.1`` and two ends of lines are 18."""
LAST_TAKEN = 5.0
"""Seconds after which a server that ends takes in nothing more of what callers go on asking."""

_HOST = re.compile(rb"[0-9A-Za-z._:\[\]-]{1,255}")
_NO_HOST = b"host.invalid"

_log = logs.get(__name__)


class Connections(ServerState):
    """Every connection of one server, and which of them are owed patience."""

    def __init__(self, most: int) -> None:
        """``most``: with more, one of those that nobody serves is closed for each that comes."""
        super().__init__()
        self.most = most
        self.leaving = False
        """The server ends: nothing new is waited for."""
        self.taken_until = math.inf
        """The loop's time after which nothing is taken in any more."""
        # Each with the time at which it ends. All of a kind are given equally long: the first is the oldest.
        self.waiting: dict[Connection, float] = {}
        self.idle: dict[Connection, float] = {}
        self._strangers = LogThrottle(time.monotonic)

    def make_room(self, newcomer: "Connection") -> None:
        """Called for each new connection; the larger crowd, silent or idle, gives its oldest."""
        if len(self.connections) <= self.most:
            return
        crowd = max(self.waiting, self.idle, key=len)
        oldest = next(iter(crowd), newcomer)
        if self._strangers.due("crowd"):
            _log.warning("too_many_connections", most=self.most)
        oldest.end()

    def sweep(self, now: float) -> None:
        """Called several times a second: end those whose time is over."""
        for crowd in (self.waiting, self.idle):
            while crowd:
                connection, due = next(iter(crowd.items()))
                if due > now:
                    break
                connection.end()

    def leave(self, now: float) -> None:
        """Called once, when the server is to end: from now on the last answer that is owed ends a connection."""
        self.leaving = True
        self.taken_until = now + LAST_TAKEN
        for connection in self.connections:
            cast("Connection", connection).leave()

    def refused(self, peer: str, fault: "_Fault") -> None:
        """Log that somebody does not speak HTTP, once a minute and peer."""
        if self._strangers.due(peer):
            _log.warning("not_http", peer=peer, status=fault.status, reason=fault.problem)


def _no_more_than(requests: int, data: bytes, begin: int) -> int:
    """Where a piece of the data ends that can't hold the heads of more requests."""
    # Each of them has a line at least, and some bytes; whichever lets in more.
    enough = min(begin + requests * SHORTEST, len(data))
    end = begin
    for _ in range(requests):
        end = data.find(b"\n", end) + 1
        if not end:
            return len(data)
    return max(end, enough)


class _Fault(Exception):
    """The request can't be taken; ``problem`` tells its caller why, and quotes nothing."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem


def _what_is_wrong(error: httptools.HttpParserError) -> str:
    """The parser's own words, which come from a closed list; in a callback all that can fail is the target."""
    callback = isinstance(error, httptools.HttpParserCallbackError)
    return f"this is not HTTP/1.1: {'its target can not be read' if callback else error}"


_HEAD_TOO_LARGE = f"the request's head has more than {HEAD_BYTES // 1024} KiB or {HEADERS} headers"


class _Flow(FlowControl):
    """Uvicorn's, which reads on whenever somebody has an answer or wants a body."""

    held = False
    """Nothing is read: what was received is to be dealt with first."""

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()

    def hold(self) -> None:
        """Read nothing further, whoever wants to."""
        self.held = True
        self.pause_reading()


class Connection(HttpToolsProtocol):
    """One connection. It is waiting (for the caller), idle, or somebody serves it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._all = cast("Connections", server_state)
        self._begun = False
        """A request's head has begun and not ended."""
        self._in_body = False
        """A head has ended, and its body has not."""
        self._barren = 0
        """Bytes that came since the last that were body."""
        self._hosts = 0
        """Host headers of the head that is being read."""
        self._coded = False
        """It has a Transfer-Encoding that is not merely chunked."""
        self._unread = b""
        """What was received and is not parsed yet, because too many requests wait already..."""
        self._at = 0
        """...from here on."""
        self._served: RequestResponseCycle | None = None
        self._last: RequestResponseCycle | None = None
        """Whose answer ends the connection, because the server ends."""
        self.broken = False
        """Nothing further is read: the connection ends with the last answer that it is owed."""

    def end(self) -> None:
        """Close at once, whatever is under way."""
        self._all.waiting.pop(self, None)
        self._all.idle.pop(self, None)
        self.transport.abort()

    def leave(self) -> None:
        """The server ends, and this connection with the last answer that it is owed, which says so."""
        # Uvicorn says that there always is one; before the first request there is none.
        newest = cast("RequestResponseCycle | None", self.cycle)
        if newest is None or newest.response_complete or not newest.keep_alive:
            return
        if self._last is not None and not self._last.response_started:
            # One more has come behind it.
            self._last.keep_alive = True
        newest.keep_alive = False
        self._last = newest

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport)
        self._wait()
        self._all.make_room(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.waiting.pop(self, None)
        self._all.idle.pop(self, None)
        if self._served is not None:
            self._served.disconnected = True
            self._served.message_event.set()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Who asked and sends no more may still want the answer; nobody can be told over TLS."""
        if self.scheme == "https" or not self._is_owed_without_the_last():
            return None
        self._end_with_answer()
        return True

    def data_received(self, data: bytes) -> None:
        self._unread = self._unread[self._at :] + data
        self._at = 0
        self._read_on()

    def _read_on(self) -> None:
        """Parse what was received until too many requests wait; the rest, and the caller, is held back."""
        late = self.loop.time() > self._all.taken_until
        # A body that somebody is waiting for may still come.
        if late and not self.broken and (self.pipeline or not self._in_body):
            self._is_owed_without_the_last()
            self._end_with_answer()
        while self._at < len(self._unread) and not self.broken:
            room = PIPELINED - len(self.pipeline)
            if not room or sum(len(cycle.body) for cycle, _ in self.pipeline) > PIPELINED_BYTES:
                self.flow.hold()
                return
            begin, self._at = self._at, _no_more_than(room, self._unread, self._at)
            self._parse(self._unread[begin : self._at])
        self._unread, self._at = b"", 0
        self.flow.held = False
        if self.broken:
            # Each answer still owed lets in one more read, to be dropped: what is left unread when the
            # connection closes would take the answers with it.
            self.flow.pause_reading()

    def _parse(self, data: bytes) -> None:
        self._barren += len(data)
        upgrades = False
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._at -= len(data) - upgrade.args[0]
                upgrades = True
            if upgrades:
                # Not in there: the exception would take the place of a fault's own cause.
                self._pass_over_upgrade()
                return
            if self._barren > HEAD_BYTES and (self._begun or self._in_body):
                raise _Fault(431, _HEAD_TOO_LARGE)  # noqa: TRY301  as the callbacks do
        except _Fault as fault:
            self._refuse(fault)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, _Fault) else _Fault(400, _what_is_wrong(error)))
        else:
            if self._begun and not self._is_owed():
                self._wait()
            if self._all.leaving:
                self.leave()

    def _pass_over_upgrade(self) -> None:
        """Read the head once more without its wish for another protocol, for which the parser skips bodies."""
        kept = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        head = b"%s %s HTTP/1.1\r\n%s\r\n\r\n" % (self.parser.get_method(), self.url, b"\r\n".join(kept))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._barren = 0
        self._parse(head)

    def on_message_begin(self) -> None:
        self._begun = True
        self._hosts, self._coded = 0, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer must not pass for a header: proxies vouch for those, and for nothing else.
        if self._in_body:
            return
        # By their lengths first: nearly all that come are others, and this is asked of each.
        size = len(name)
        if size == 4 and name.lower() == b"host":
            self._hosts += 1
            # An invalid Host is replaced: no handler needs it, and Litestar would answer 400 before the contract's
            # handlers are asked.
            if not _HOST.fullmatch(value):
                value = _NO_HOST
        elif size == 17 and name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            self._coded = True
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _Fault(400, "this is no proxy: CONNECT leads nowhere")
            return
        if len(self.headers) > HEADERS or (self._barren > HEAD_BYTES and self._head_size() > HEAD_BYTES):
            raise _Fault(431, _HEAD_TOO_LARGE)
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            raise _Fault(400, f"a request has one Host header, and this one has {self._hosts}")
        if self._coded and self._is_coded_before_chunked():
            raise _Fault(501, "of the transfer codings only chunked is understood: send the body as it is")
        super().on_headers_complete()
        self._begun, self._in_body, self._barren = False, True, 0
        self._settle()

    def _is_coded_before_chunked(self) -> bool:
        """Whether the body is in chunks and something else besides; what is not in chunks the parser refuses."""
        values = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        codings = [coding for one in b",".join(values).split(b",") if (coding := one.strip(b" \t"))]
        return len(codings) > 1 and codings[-1] == b"chunked"

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        self._barren = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._begun:
            return  # it comes once more, without its Upgrade
        self._in_body = False
        self._barren = 0
        super().on_message_complete()
        if self.cycle.response_complete:
            self._settle()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._wait()
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        # Not for each: a few lines at a time would be parsed dearly.
        if len(self.pipeline) <= PIPELINED // 2 or self._all.leaving or self.broken:
            self._read_on()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._settle()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._settle()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._settle()

    def _is_owed(self) -> bool:
        """Whether somebody is working on an answer."""
        served = self._served
        return bool(self.pipeline) or (served is not None and not served.response_complete)

    def _settle(self) -> None:
        """Say who is being waited for: the caller, who must take or send something, nobody, or the gateway."""
        owed = self._is_owed()
        # Whoever takes no answers waits for nobody but itself, whatever else it asks for meanwhile.
        if self.flow.write_paused or (not owed and (self._begun or self._in_body)):
            self._wait()
            return
        self._all.waiting.pop(self, None)
        self._all.idle.pop(self, None)
        if not owed:
            self._all.idle[self] = self.loop.time() + IDLE_DEADLINE

    def _wait(self) -> None:
        self._all.idle.pop(self, None)
        self._all.waiting.setdefault(self, self.loop.time() + HEAD_DEADLINE)

    def _close(self) -> None:
        """Close when all that was said has been taken; for that too there is a deadline."""
        self.transport.close()
        self._wait()

    def _end_with_answer(self) -> None:
        """Read nothing further; close when what is owed is out."""
        self.broken = True
        if self._is_owed():
            self.cycle.keep_alive = False
        else:
            self._close()

    def _refuse(self, fault: _Fault) -> None:
        """What came is no request: answer what came before it, or say so, and read no further."""
        self._all.refused(self.client[0] if self.client else "", fault)
        if self._is_owed_without_the_last():
            self._end_with_answer()
            return
        self.broken = True
        if not (self._in_body and self.cycle.response_started):
            body = f"{fault.problem}\n".encode()
            head = (
                f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}\r\n"
                f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
                "connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self._close()

    def _is_owed_without_the_last(self) -> bool:
        """Forget the request that will never be whole; returns whether one before it is to be answered."""
        if self._in_body:
            if not self.pipeline:
                return False
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else cast("RequestResponseCycle", self._served)
            self._in_body = False
        return self._is_owed()
