"""A pool of connections: at most so many requests at a time, and a connection for each."""

import asyncio
from typing import NamedTuple

from gatepost.wire.answers import Answer, AnswerReader
from gatepost.wire.connections import Connection, LostRequest, NoConnection
from gatepost.wire.dialing import Dialer, Origin

_MAX_IDLE = 14.0
"""Seconds. Less than common servers keep an idle connection (nginx 75 s, many load balancers 60 s, some 15 s): a send on a
connection that the server is just closing would become uncertain without need."""

_LOOK_EVERY = 0.1
"""Seconds after which deadlines are looked at, at the latest. A request with less time than this may be late by as much."""

_CLOSE_TIMEOUT = 1.0
"""Seconds for the end of TLS when a connection is closed."""


class Request(NamedTuple):
    """A request as it leaves."""

    method: str
    content: bytes
    """The head and the body."""
    max_body: int
    """Bytes of the answer's body that are read."""
    may_repeat: bool = False
    """Whether it may leave a second time where a reused connection is lost before anything of an answer came."""


class Pool:
    """The connections of one client."""

    def __init__(self, dialer: Dialer, size: int) -> None:
        """``size``: requests at a time. Must be called in the loop that the pool is used in."""
        self._loop = asyncio.get_running_loop()
        self._dialer = dialer
        self._slots = asyncio.Semaphore(size)
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: dict[Connection, Origin] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def deadline(self, seconds: float) -> float:
        """Return the time of the loop in so many seconds."""
        return self._loop.time() + seconds

    async def exchange(self, origin: Origin, request: Request, deadline: float) -> Answer:
        """Send a request and return its answer, whatever its status; ``deadline`` is a time of the loop.

        Raises NoConnection when not one byte of it has left, and LostRequest when it got no answer.
        """
        await self._take_slot(deadline)
        try:
            idle = self._take_idle(origin)
            if idle is not None:
                try:
                    return await self._exchange(idle, origin, request, deadline)
                except LostRequest as error:
                    if not request.may_repeat or error.kind != "lost" or error.is_answered:
                        raise
            return await self._exchange(await self._dial(origin, deadline), origin, request, deadline)
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close the connections; a request that waits for its answer is lost."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        idle = {connection for connections in self._idle.values() for connection in connections}
        for connection in self._open:
            if connection in idle:
                connection.close()
            else:
                connection.abort()
        if self._open:
            await asyncio.wait({connection.lost for connection in self._open}, timeout=_CLOSE_TIMEOUT)
        for connection in self._open:
            connection.abort()

    async def _take_slot(self, deadline: float) -> None:
        if self._slots.locked():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._slots.acquire()
            except TimeoutError:
                raise NoConnection("timeout") from None
        elif self._loop.time() < deadline:
            await self._slots.acquire()
        else:
            raise NoConnection("timeout")

    async def _exchange(
        self, connection: Connection, origin: Origin, request: Request, deadline: float
    ) -> Answer:
        reader = AnswerReader(request.method, request.max_body)
        connection.due = deadline
        await connection.exchange(request.content, reader)
        connection.due = self._loop.time() + (_MAX_IDLE if connection.is_usable else _CLOSE_TIMEOUT)
        if connection.is_usable:
            self._idle.setdefault(origin, []).append(connection)
        return reader.answer

    def _take_idle(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            # The one that was used last: so those that are more than enough end.
            connection = idle.pop()
            # One that is over its time may be about to be closed by the server, after a loop that stood still.
            if connection.due <= self._loop.time():
                connection.expire()
            if connection.is_usable:
                return connection
        return None

    async def _dial(self, origin: Origin, deadline: float) -> Connection:
        self._expect_open()
        connection = await self._dialer.dial(origin, deadline)
        try:
            self._expect_open()
        except NoConnection:
            connection.abort()
            raise
        self._open[connection] = origin
        connection.lost.add_done_callback(lambda _lost: self._forget(connection))
        if self._timer is None:
            self._expire()
        return connection

    def _expect_open(self) -> None:
        if self._closed:
            raise NoConnection("closed")

    def _forget(self, connection: Connection) -> None:
        origin = self._open.pop(connection)
        idle = self._idle.get(origin, [])
        if connection in idle:
            idle.remove(connection)
        if not idle:
            self._idle.pop(origin, None)

    def _expire(self) -> None:
        """End what is due, and look again soon. A timer for each request would take a tenth of its CPU."""
        now = self._loop.time()
        for connection in [connection for connection in self._open if connection.due <= now]:
            connection.due = now + _CLOSE_TIMEOUT
            connection.expire()
        due = min((connection.due for connection in self._open), default=None)
        self._timer = None if due is None else self._loop.call_at(min(due, now + _LOOK_EVERY), self._expire)
