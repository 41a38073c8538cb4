"""An HTTP provider that takes every message immediately: ``python benchmarks/provider.py PORT COUNT_PORT``.

It answers each request with 202 and an ``X-Message-Id``. ``sink.py`` describes COUNT_PORT.
"""

import asyncio
import sys

from sink import MessageCount, main


class Connection(asyncio.Protocol):
    """A keep-alive connection; it parses only as much HTTP as a correct client needs."""

    def __init__(self) -> None:
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end])
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self.received) < end + 4 + length:
                return
            self.take(self.received[end + 4 : end + 4 + length])
            del self.received[: end + 4 + length]

    def take(self, _body: bytearray) -> None:
        head = (
            b"HTTP/1.1 202 Accepted\r\nX-Message-Id: %022d\r\nContent-Length: 0\r\n\r\n" % MessageCount.add()
        )
        self.transport.write(head)


if __name__ == "__main__":
    main(Connection, *sys.argv[1:])
