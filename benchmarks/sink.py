"""What a stand-in provider counts, and how it tells."""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable

import uvloop

Beside = Callable[[], Awaitable[None]]


class Taken:
    """What came so far; one a process."""

    count = 0
    first = 0.0
    last = 0.0

    @classmethod
    def one(cls) -> int:
        """Count a message; returns its number."""
        cls.count += 1
        cls.last = time.monotonic()
        cls.first = cls.first or cls.last
        return cls.count


class Asked(asyncio.Protocol):
    """Tells whoever connects what was counted, and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        figures = {"count": Taken.count, "first": Taken.first, "last": Taken.last}
        transport.write(json.dumps(figures).encode())
        transport.close()


async def serve(
    protocol: type[asyncio.Protocol],
    port: int,
    asked: int,
    certificate: str = "",
    beside: Beside | None = None,
) -> None:
    """Take messages on one port and questions on another, for ever; over TLS where there is a certificate.

    ``beside`` runs meanwhile.
    """
    loop = asyncio.get_running_loop()
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    await loop.create_server(Asked, "127.0.0.1", asked)
    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=512, ssl=tls)
    await asyncio.gather(server.serve_forever(), *([beside()] if beside else []))


def main(
    protocol: type[asyncio.Protocol],
    port: str,
    asked: str,
    certificate: str = "",
    beside: Beside | None = None,
) -> None:
    """The whole of a stand-in's program; ``certificate`` is a PEM file that holds the key too."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(protocol, int(port), int(asked), certificate, beside))
