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
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await site.stop()
            # Who was accepted in the last moment is not known to the server yet, and would stay open.
            for _ in range(_TURNS):
                await asyncio.sleep(0)
    finally:
        await runner.cleanup()
