"""Connections to the server: lines of JSON over TCP, one request and one answer at a time."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
from gatepost.errors import Unavailable, Uncertain

from gatepost_example_tcp.settings import Settings

Message = Mapping[str, Any]
"""One line, decoded."""

_MAX_LINE = 64 * 1024
"""Bytes of the longest answer."""


class Connection:
    """One connection that is logged in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, settings: Settings, tls: ssl.SSLContext | None) -> Self:
        """Connect and log in; raise Unavailable where that fails, as no message has left."""
        try:
            streams = await asyncio.open_connection(settings.host, settings.port, ssl=tls, limit=_MAX_LINE)
        except (OSError, ValueError) as error:
            raise Unavailable(f"no connection ({type(error).__name__})") from None
        connection = cls(*streams)
        try:
            answer = await connection.exchange({"login": settings.key.reveal()})
        except Uncertain as error:
            connection.close()
            raise Unavailable(error.reason) from None
        except BaseException:
            connection.close()
            raise
        if answer != {"ok": True}:
            connection.close()
            raise Unavailable("the server refused the key", code="wrong_key", misconfigured=True)
        return connection

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed the connection, as far as is known."""
        return not self._reader.at_eof()

    async def exchange(self, request: Message) -> Message:
        """Send a request and return its answer.

        Raises Uncertain where the connection is lost or the answer makes no sense: the server may have the request.
        """
        try:
            self._writer.write(msgspec.json.encode(request) + b"\n")
            await self._writer.drain()
            return msgspec.json.decode(await self._reader.readuntil(), type=dict[str, Any])
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            reason = f"the connection was lost after the request was out ({type(error).__name__})"
        except msgspec.MsgspecError:
            reason = "the answer is not from this server: check host and port"
        # Outside of this block: the error may quote the request.
        raise Uncertain(reason)

    def close(self) -> None:
        """Close the connection at once; the server gets nothing of what was not written yet."""
        self._writer.transport.abort()


class Pool:
    """Connections that wait for the next message. How many are in use at one time is Gatepost's to limit."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tls = settings.tls_context()
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def connection(self, deadline: float) -> AsyncIterator[Connection]:
        """Lend a connection, which is kept when the block ends well and closed otherwise.

        Raises Unavailable where none can be opened until ``deadline``, in the time of the event loop.
        """
        connection = await self._take(deadline)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    async def _take(self, deadline: float) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.close()
        try:
            async with asyncio.timeout_at(deadline):
                return await Connection.open(self._settings, self._tls)
        except TimeoutError:
            raise Unavailable("no connection in time") from None

    def close(self) -> None:
        """Close every connection."""
        while self._idle:
            self._idle.pop().close()
