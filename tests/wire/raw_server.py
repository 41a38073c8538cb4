"""A TCP server that follows a script, and counts what reached it."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Self

Script = Callable[["Connection"], Awaitable[None]]


class Request(NamedTuple):
    """A request as it was read."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One accepted connection."""

    def __init__(
        self, server: "RawServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._server = server

    async def read_head(self) -> Request | None:
        """Read a request without its body; None when the client has closed the connection."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        request = Request(method, target, headers, b"")
        self._server.requests.append(request)
        return request

    async def read(self) -> Request | None:
        """Read a whole request; None when the client has closed the connection."""
        request = await self.read_head()
        if request is None:
            return None
        body = await self.reader.readexactly(int(request.headers.get("content-length", "0")))
        self._server.requests[-1] = request._replace(body=body)
        return self._server.requests[-1]

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with an RST instead of a FIN."""
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.writer.transport.abort()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context)


class RawServer:
    """A server on a free port of 127.0.0.1; each connection runs ``script`` and is closed after it."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.requests: list[Request] = []
        """The requests whose head was read."""
        self.connections = 0
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await _steps()  # so that each accepted connection has its task
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await _steps()  # so that each transport is closed

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self.script(Connection(self, reader, writer))
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)


async def _steps() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def answer(status: int = 202, body: bytes = b"{}", *headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def answering(connection: Connection) -> None:
    """Answer every request with 202."""
    while request := await connection.read():
        await connection.write(answer(body=b"" if request.method == "HEAD" else b"{}"))


async def forever() -> None:
    """Wait until the test ends."""
    await asyncio.Event().wait()
