"""Smartico's callback server: ``python benchmarks/callback_sink.py PORT COUNT_PORT STATUS [CERTIFICATE]``.

It counts the messages with a callback for STATUS, each message once. ``sink.py`` describes COUNT_PORT.
"""

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

from sink import MessageCount, main

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"error_code":0}'
counted_ids: set[str] = set()
counted_status = sys.argv[3]


class Connection(asyncio.Protocol):
    """A keep-alive connection that gets GET requests."""

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self.received = (self.received + data).split(b"\r\n\r\n")
        for head in heads:
            query = parse_qs(urlsplit(head.split(b" ", 2)[1].decode()).query)
            [message], [status] = query["ext_message_id"], query["status"]
            if status == counted_status and message not in counted_ids:
                counted_ids.add(message)
                MessageCount.add()
            self.transport.write(ANSWER)


if __name__ == "__main__":
    main(Connection, *sys.argv[1:3], *sys.argv[4:])
