"""A TCP proxy in front of a database, which can fail as networks do."""

import asyncio
from collections import deque
from enum import StrEnum
from typing import Self


class Fault(StrEnum):
    """What the proxy does instead of passing bytes on."""

    HANG = "hang"
    """Connections are taken, and nothing passes."""
    DRIP = "drip"
    """The server's bytes pass one by one, for longer than any deadline."""
    RESET = "reset"
    """Connections are reset as soon as the client sends something."""
    REFUSE = "refuse"
    """Connections are closed at once."""


class _Side(asyncio.Protocol):
    """A connection to the client or to the server; what it receives is written to the other side."""

    def __init__(self, proxy: "Proxy", *, is_server: bool) -> None:
        self._proxy = proxy
        self._is_server = is_server
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.other: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._proxy.sides.add(self)
        if not self._is_server:
            self._proxy.accept(self)

    def data_received(self, data: bytes) -> None:
        if self._proxy.fault is Fault.RESET and not self._is_server:
            self.abort()
        else:
            self._take(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._proxy.sides.discard(self)
        # What the server said last tells why it closes the connection: it is passed on before the end.
        self._take(b"")

    def _take(self, data: bytes) -> None:
        self._chunks.append((asyncio.get_running_loop().time() + self._proxy.delay, data))
        if self._timer is None:
            self.pass_on()

    def pass_on(self) -> None:
        """Write to the other side what is due, and come back for the rest."""
        self._timer, loop = None, asyncio.get_running_loop()
        while self._chunks and self.other is not None:
            due, data = self._chunks[0]
            wait = 0.01 if self._proxy.fault is Fault.HANG and data else due - loop.time()
            if wait > 0:
                self._timer = loop.call_later(wait, self.pass_on)
                return
            self._chunks.popleft()
            if self._proxy.fault is Fault.DRIP and self._is_server and len(data) > 1:
                self._chunks.appendleft((loop.time() + 0.2, data[1:]))
                data = data[:1]
            self.other.write(data)

    def write(self, data: bytes) -> None:
        """Write data; an empty text closes the connection."""
        if self._transport is not None and not self._transport.is_closing():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()

    def abort(self) -> None:
        """Reset the connection on both sides."""
        for side in (self, self.other):
            if side is not None and side._transport is not None:
                side._transport.abort()
                side._chunks.clear()


class Proxy:
    """Passes the bytes of a server on, each after a delay; it exists while it is entered."""

    def __init__(self, upstream: str | int, delay: float = 0.0) -> None:
        """Lead to a Unix socket or to a port of this machine; ``delay`` is in seconds and for each direction."""
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        self.sides: set[_Side] = set()
        self.delay = delay
        self.fault: Fault | None = None
        self.connections = 0
        """How many connections were opened."""
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Side(self, is_server=False), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.fault = None
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self.sides:
            self.drop()
            await asyncio.sleep(0)

    def drop(self) -> None:
        """Reset every connection."""
        for side in list(self.sides):
            side.abort()

    def accept(self, client: _Side) -> None:
        """Connect a client with the server."""
        self.connections += 1
        if self.fault is Fault.REFUSE:
            client.abort()
            return
        task = asyncio.create_task(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: _Side) -> None:
        loop = asyncio.get_running_loop()
        try:
            if isinstance(self._upstream, int):
                _, server = await loop.create_connection(
                    lambda: _Side(self, is_server=True), "127.0.0.1", self._upstream
                )
            else:
                _, server = await loop.create_unix_connection(
                    lambda: _Side(self, is_server=True), self._upstream
                )
        except OSError:
            client.abort()
            return
        client.other, server.other = server, client
        client.pass_on()
        server.pass_on()
