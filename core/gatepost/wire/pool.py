"""Kept connections: at most so many requests at a time, and a connection for each."""

import asyncio
from typing import NamedTuple

from gatepost.wire.answers import Answer, AnswerReader
from gatepost.wire.connections import Connection, LostRequest, NoConnection
from gatepost.wire.dialing import Dialer, Origin

_MAX_IDLE = 14.0
"""Seconds. Less than common servers keep an idle connection (nginx 75 s, many load balancers 60 s, some 15 s): a send on a
connection that the server is just closing would become uncertain without need."""

_CLOSE_TIMEOUT = 1.0
"""Seconds for the ends of TLS when the pool is closed."""


class Request(NamedTuple):
    """A request as it leaves."""

    content: bytes
    """The head and the body."""
    max_body: int
    """Bytes of the answer's body that are read."""
    is_head: bool = False
    may_repeat: bool = False
    """Whether it may leave a second time where a kept connection is lost before anything of an answer came."""


class Pool:
    """The connections of one client."""

    def __init__(self, dialer: Dialer, size: int) -> None:
        """``size``: requests at a time."""
        self._dialer = dialer
        self._slots = asyncio.Semaphore(size)
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._closed = False

    async def exchange(self, origin: Origin, request: Request, deadline: float) -> Answer:
        """Send a request and return its answer, whatever its status; ``deadline`` is a time of the loop.

        Raises NoConnection when not one byte of it has left, and LostRequest when it got no answer.
        """
        await self._take_slot(deadline)
        try:
            if asyncio.get_running_loop().time() >= deadline:
                raise NoConnection("timeout")
            connection = self._take_idle(origin)
            if connection is not None:
                try:
                    return await self._exchange(connection, origin, request, deadline)
                except LostRequest as error:
                    if not request.may_repeat or error.kind != "lost" or error.is_answered:
                        raise
            return await self._exchange(await self._dial(origin, deadline), origin, request, deadline)
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close the connections; a request that waits for its answer is lost."""
        self._closed = True
        idle = {connection for kept in self._idle.values() for connection in kept}
        for connection in idle:
            connection.close()
        for connection in self._open - idle:
            connection.abort()
        if self._open:
            await asyncio.wait({connection.lost for connection in self._open}, timeout=_CLOSE_TIMEOUT)
        for connection in self._open:
            connection.abort()

    async def _take_slot(self, deadline: float) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise NoConnection("timeout") from None

    async def _dial(self, origin: Origin, deadline: float) -> Connection:
        if self._closed:
            raise NoConnection("closed")
        connection = await self._dialer.dial(origin, deadline)
        if self._closed:
            connection.abort()
            raise NoConnection("closed")
        self._open.add(connection)
        connection.lost.add_done_callback(lambda _lost: self._forget(connection, origin))
        return connection

    def _forget(self, connection: Connection, origin: Origin) -> None:
        self._open.discard(connection)
        kept = self._idle.get(origin, [])
        if connection in kept:
            kept.remove(connection)
        if not kept:
            self._idle.pop(origin, None)

    async def _exchange(
        self, connection: Connection, origin: Origin, request: Request, deadline: float
    ) -> Answer:
        reader = AnswerReader(request.max_body, ends_at_head=request.is_head)
        answer = await connection.exchange(request.content, reader, deadline)
        if connection.is_usable:
            self._keep(connection, origin)
        return answer

    def _take_idle(self, origin: Origin) -> Connection | None:
        kept = self._idle.get(origin)
        while kept:
            # The one that was used last: so those that are more than enough end.
            connection = kept.pop()
            connection.stop_idling()
            if connection.is_usable:
                return connection
        return None

    def _keep(self, connection: Connection, origin: Origin) -> None:
        connection.idle(_MAX_IDLE)
        self._idle.setdefault(origin, []).append(connection)
