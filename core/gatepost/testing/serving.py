"""The server of the emulators: aiohttp's on a free port of 127.0.0.1; no connection and no request outlives it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

_TURNS = 5
"""Turns of the loop until the server knows of a connection that was accepted."""


@asynccontextmanager
async def serving(
    server: web.Server, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Run a server and yield its URL without a path; at the end close every connection, and cancel every request.

    ``port`` 0 is any free port. Raises OSError where the port is in use.
    """
    requests: set[asyncio.Task[Any]] = set()
    server.request_handler = _remembering(server.request_handler, requests)
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
        # aiohttp forgets the requests whose clients have gone away.
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)


def _remembering(
    handler: Any, requests: set[asyncio.Task[Any]]
) -> Callable[[web.BaseRequest], Awaitable[Any]]:
    """Return a handler whose task is in ``requests`` while it runs."""

    async def handle(request: web.BaseRequest) -> Any:
        task = asyncio.current_task()
        assert task is not None, "no task runs this handler"
        requests.add(task)
        try:
            return await handler(request)
        finally:
            requests.discard(task)

    return handle


async def stop(server: asyncio.Server) -> None:
    """Close a server of asyncio once it knows of every accepted connection; the connections stay open.

    asyncio would never close a connection that it passes to a server that is closed already.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    server.close()
