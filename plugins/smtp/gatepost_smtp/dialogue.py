"""The dialogue with a relay after its session has begun: commands out, replies in.

aiosmtplib opens the session. Its protocol loses replies that come together, as those to pipelined commands do, so that
this one takes over the transport then.
"""

import asyncio
import math
import re
from collections import deque
from typing import NamedTuple, cast

_MAX_REPLY_SIZE = 32_768
"""The number of bytes that may come before the replies in them are read."""

_REPLY_LINE = re.compile(rb"([0-9]{3})(?:(-)|[ \r]|$)(.*)")


class Reply(NamedTuple):
    """A reply of the relay."""

    code: int
    text: str
    """The lines without their codes."""


class Disconnected(Exception):
    """The connection is closed."""


class InvalidReply(Exception):
    """The relay sent something that is not a reply."""


class Dialogue(asyncio.Protocol):
    """Writes commands and reads their replies, in order. A reply that no command asked for ends the connection.

    One timer looks after all waits of a connection: it is set for the first of them, and when it expires for the one that
    waits then. So most mails set none; a timer for each reply would cost more than reading the reply.
    """

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport of an open session."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._size = 0
        """Bytes that came since all replies were read."""
        self._lines: list[str] = []
        self._replies: deque[Reply] = deque()
        self._awaited = 0
        """Replies that are due and were not read yet."""
        self._waiter: asyncio.Future[None] | None = None
        self._wait_ends = 0.0
        """When the waiter gives up, by the loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ends = math.inf
        """When the timer expires; never later than the waiter gives up."""
        self._error: Disconnected | InvalidReply | None = None
        self.ended_at: float | None = None
        """When the connection ended, by the loop's clock."""
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether commands can be written."""
        return self._error is None and not self._transport.is_closing()

    @property
    def tls_version(self) -> str:
        """The version of TLS, such as TLSv1.3; empty without TLS."""
        tls = self._transport.get_extra_info("ssl_object")
        return tls.version() if tls else ""

    @property
    def has_unsent(self) -> bool:
        """Whether a part of what was written has not left yet."""
        return self._transport.get_write_buffer_size() > 0

    def write(self, data: bytes, *, replies: int = 1) -> None:
        """Write commands or a mail that get this number of replies; raises Disconnected."""
        if not self.is_open:
            raise Disconnected
        self._awaited += replies
        self._transport.write(data)

    async def read(self, until: float) -> Reply:
        """Return the next reply; raises Disconnected, InvalidReply, and TimeoutError at ``until`` by the loop's clock."""
        while not self._replies:
            if self._error is not None:
                raise self._error
            await self._wait(until)
        self._awaited -= 1
        reply = self._replies.popleft()
        if not self._replies:
            self._size = 0
        return reply

    def abort(self) -> None:
        """Close the connection at once, and drop data that is not sent yet."""
        self._transport.abort()
        self._end(Disconnected())

    async def wait_closed(self, until: float) -> None:
        """Wait until the relay has closed its side too; raises TimeoutError at ``until``."""
        while self._error is None:
            await self._wait(until)

    def data_received(self, data: bytes) -> None:
        """Take the lines that are complete."""
        if self._error is not None:
            return
        self._size += len(data)
        if not self._take(data) or len(self._replies) > self._awaited:
            self._end(InvalidReply())
            self._transport.abort()
        self._wake()

    def eof_received(self) -> None:
        """End the dialogue: a relay that sends no more can't answer."""
        self._end(Disconnected())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """End the dialogue."""
        self._end(Disconnected())

    def _take(self, data: bytes) -> bool:
        """Take the lines that are complete; return False if they are too much or no replies."""
        if self._size > _MAX_REPLY_SIZE:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return all(map(self._take_line, lines))

    def _take_line(self, line: bytearray) -> bool:
        """Take a line of a reply; return False if it is none."""
        match = _REPLY_LINE.fullmatch(line)
        if match is None:
            return False
        code, more, text = match.groups()
        self._lines.append(text.strip().decode("utf-8", "replace"))
        if not more:
            self._replies.append(Reply(int(code), "\n".join(self._lines)))
            self._lines.clear()
        return True

    def _end(self, error: Disconnected | InvalidReply) -> None:
        if self._error is None:
            self._error = error
            self.ended_at = self._loop.time()
            self._stop_timer()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, until: float) -> None:
        """Wait until something has come or the connection has ended; raises TimeoutError at ``until``."""
        self._waiter, self._wait_ends = self._loop.create_future(), until
        if until < self._timer_ends:
            self._set_timer(until)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_timer(self, ends: float) -> None:
        self._stop_timer()
        self._timer, self._timer_ends = self._loop.call_at(ends, self._timer_expired), ends

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_ends = None, math.inf

    def _timer_expired(self) -> None:
        has_ended = self._wait_ends <= self._timer_ends
        self._stop_timer()
        if self._waiter is None or self._waiter.done():
            return
        if has_ended:
            self._waiter.set_exception(TimeoutError())
        else:
            self._set_timer(self._wait_ends)
