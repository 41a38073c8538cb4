"""The server of a stand-in: aiohttp's on a free port of 127.0.0.1, which leaves nothing behind."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

_TURNS = 5
"""Turns of the loop until a connection that was accepted is known to the server."""


@asynccontextmanager
async def serving(
    server: web.Server, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve; yields the URL without a path. On the way out every connection is closed.

    ``port`` 0 is any that is free. Raises OSError when it can't be had.
    """
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, ssl=tls)
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        finally:
            await stop(listening)
    finally:
        await runner.cleanup()


async def stop(server: asyncio.Server) -> None:
    """Close a server of asyncio's once it knows of every connection that was accepted; these stay open.

    A connection that asyncio hands to a server which has closed by then would never be closed.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    server.close()
