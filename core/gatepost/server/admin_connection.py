"""One connection over the admin socket."""

import asyncio
import contextlib

from gatepost.server.protocol import Connection
from gatepost.web.admin.actors import peer_of

MAX_CONNECTIONS = 64
"""Open connections; a further one closes the oldest of those that wait for their client."""


class AdminConnection(Connection):
    """A connection whose client is the Peer at the other end, instead of an address."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Without a peer the application refuses every request.
        with contextlib.suppress(OSError):
            self.client = peer_of(transport.get_extra_info("socket"))
