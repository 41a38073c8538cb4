"""What a stand-in provider counts, and how it tells."""

import asyncio
import json
import time

import uvloop


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


async def serve(protocol: type[asyncio.Protocol], port: int, asked: int) -> None:
    """Take messages on one port and questions on another, for ever."""
    loop = asyncio.get_running_loop()
    await loop.create_server(Asked, "127.0.0.1", asked)
    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


def main(protocol: type[asyncio.Protocol], port: str, asked: str) -> None:
    """The whole of a stand-in's program."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(protocol, int(port), int(asked)))
