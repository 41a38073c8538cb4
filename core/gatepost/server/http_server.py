"""The HTTP server of one listener, whose shutdown resets no connection."""

import asyncio
import contextlib
import selectors
import socket
from collections.abc import Callable, Iterator
from typing import Any

from gatepost.config.certificate import Certificate
from gatepost.gateway import DRAIN_TIMEOUT
from gatepost.server import uvicorn_api as uvicorn
from gatepost.server.connection_limits import ConnectionLimits
from gatepost.server.listeners import BACKLOG
from gatepost.server.protocol import Connection

ACCEPT_GRACE = 0.1
"""Seconds of a shutdown in which new connections are still accepted, and each answer says ``connection: close``."""

MAX_ACCEPT_GRACE = 1.0
"""Seconds to which ACCEPT_GRACE is extended while a connection is not accepted, or its first request has not come."""

_LOOP_TURNS = 8
"""Turns of the event loop until a connection that was accepted has been read."""


class HttpServer(uvicorn.Server):
    """uvicorn's server, which reports when it listens and leaves signals alone: its own handler ends the process."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        max_connections: int,
        on_listening: Callable[[], None] = lambda: None,
        *,
        stays_open: bool = False,
    ) -> None:
        """``on_listening`` is called when requests are accepted; ``stays_open``: the listener outlives the process."""
        super().__init__(config)
        self._listener = listener
        self._on_listening = on_listening
        self._stays_open = stays_open
        self.server_state = self._limits = ConnectionLimits(max_connections)

    async def answer(self) -> None:
        """Answer requests until ``begin_shutdown``, and then those in hand."""
        await self.serve(sockets=[self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening()

    async def on_tick(self, counter: int) -> bool:
        self._limits.abort_expired(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def begin_shutdown(self) -> None:
        """Make ``serve`` end soon, and each connection close after its next answer."""
        self.should_exit = True
        self._limits.drain(asyncio.get_running_loop().time())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Read and answer what has arrived, then shut down; uvicorn alone would reset unread connections.

        What waits at a socket that stays open is for the next process.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        if not self._stays_open:
            await asyncio.sleep(ACCEPT_GRACE)
            while _has_pending_connections(sockets or []) and loop.time() < start + MAX_ACCEPT_GRACE:  # noqa: ASYNC110
                await asyncio.sleep(0)
        # asyncio hands an accepted connection to its server one turn later. If the server has closed by then,
        # the connection stays open and its client waits in vain: so stop accepting first.
        for server in self.servers:
            for listener in server.sockets:
                loop.remove_reader(listener)
        await _read_accepted_connections()
        # Who has connected may not have sent the request yet, and would get a reset instead of an answer.
        while self._limits.has_newcomers() and loop.time() < start + MAX_ACCEPT_GRACE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for server in self.servers:
            server.close()
        await _read_accepted_connections()
        self.config.timeout_graceful_shutdown = max(1, int(DRAIN_TIMEOUT - (loop.time() - start)))
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_config(app: Any, connection: type[Connection], tls: Certificate | None = None) -> uvicorn.Config:
    """Return the configuration of a server for an ASGI application."""
    return uvicorn.Config(
        app=app,
        lifespan="off",
        http=connection,
        ws="none",
        # gatepost.web.auth finds the client address, from the operator's own list of trusted proxies.
        proxy_headers=False,
        server_header=False,
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        ssl_context_factory=(lambda _config, _default: tls.context) if tls else None,
    )


async def _read_accepted_connections() -> None:
    """Wait until the event loop has read from every connection that it has accepted."""
    for _ in range(_LOOP_TURNS):
        await asyncio.sleep(0)


def _has_pending_connections(listeners: list[socket.socket]) -> bool:
    """Return whether the event loop has connections left to accept; some loops accept only one per turn."""
    with selectors.DefaultSelector() as selector:
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ)
        return bool(selector.select(0))
