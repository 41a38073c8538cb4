"""A provider that takes every message at once: ``python benchmarks/provider.py PORT``.

POST anything: 202 and an ``X-Message-Id``. GET: how many were taken, and when the first and the last came.
"""

import asyncio
import json
import sys
import time


class Counted:
    """What came so far."""

    count = 0
    first = 0.0
    last = 0.0


def seen() -> dict[str, float]:
    return {"count": Counted.count, "first": Counted.first, "last": Counted.last}


class Connection(asyncio.Protocol):
    """One kept connection; speaks as much HTTP as an honest client needs."""

    def __init__(self) -> None:
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end])
            if head.startswith(b"GET"):
                self.answer(b"200 OK", json.dumps(seen()).encode(), b"")
                length = 0
            else:
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                if len(self.received) < end + 4 + length:
                    return
                self.take()
            del self.received[: end + 4 + length]

    def take(self) -> None:
        Counted.count += 1
        Counted.last = time.monotonic()
        Counted.first = Counted.first or Counted.last
        self.answer(b"202 Accepted", b"", b"X-Message-Id: %022d\r\n" % Counted.count)

    def answer(self, status: bytes, body: bytes, header: bytes) -> None:
        head = b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n" % (status, header, len(body))
        self.transport.write(head + body)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
