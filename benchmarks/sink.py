"""What all servers of the benchmarks share: they count messages, and tell the count on a second port.

On COUNT_PORT the server answers each connection with JSON and closes it: ``count``, and ``first`` and ``last``,
the times of the first and the last message on the clock of ``time.monotonic``.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable

import uvloop

BackgroundTask = Callable[[], Awaitable[None]]


class MessageCount:
    """The messages of this process so far."""

    count = 0
    first = 0.0
    last = 0.0

    @classmethod
    def add(cls) -> int:
        """Count a message and return its number."""
        cls.count += 1
        cls.last = time.monotonic()
        cls.first = cls.first or cls.last
        return cls.count


class CountConnection(asyncio.Protocol):
    """A connection to COUNT_PORT."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        figures = {"count": MessageCount.count, "first": MessageCount.first, "last": MessageCount.last}
        transport.write(json.dumps(figures).encode())
        transport.close()


async def serve(
    protocol: type[asyncio.Protocol],
    port: int,
    count_port: int,
    certificate: str = "",
    background_task: BackgroundTask | None = None,
) -> None:
    """Serve messages on one port and the count on another, until the process ends."""
    loop = asyncio.get_running_loop()
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    await loop.create_server(CountConnection, "127.0.0.1", count_port)
    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=512, ssl=tls)
    await asyncio.gather(server.serve_forever(), *([background_task()] if background_task else []))


def main(
    protocol: type[asyncio.Protocol],
    port: str,
    count_port: str,
    certificate: str = "",
    background_task: BackgroundTask | None = None,
) -> None:
    """Run the server; ``certificate`` is a PEM file that also contains the key, and switches TLS on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(protocol, int(port), int(count_port), certificate, background_task))
