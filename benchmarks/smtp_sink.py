"""An SMTP server that takes every mail immediately: ``python benchmarks/smtp_sink.py PORT COUNT_PORT [LIMIT]``.

``sink.py`` describes COUNT_PORT. While LIMIT connections are open, each further one gets 421 and is closed.
"""

import asyncio
import math
import sys

from sink import MessageCount, main

limit = float(sys.argv[3]) if len(sys.argv) > 3 else math.inf
sessions: set[asyncio.Protocol] = set()


class Session(asyncio.Protocol):
    """A connection that answers commands, and counts the mails at their final dot."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = bytearray()
        self.in_data = False
        self.answers = b""
        self.is_ending = False
        if len(sessions) >= limit:
            transport.write(b"421 4.7.0 too many connections\r\n")
            transport.close()
            return
        sessions.add(self)
        transport.write(b"220 sink\r\n")

    def connection_lost(self, _error: Exception | None) -> None:
        sessions.discard(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        while self.handle_line():
            pass
        self.transport.write(self.answers)
        self.answers = b""
        if self.is_ending:
            self.transport.close()

    def handle_line(self) -> bool:
        """Handle the next command or mail; return False if it is incomplete."""
        terminator = b"\r\n.\r\n" if self.in_data else b"\r\n"
        end = self.received.find(terminator)
        if end < 0:
            return False
        line = bytes(self.received[:end]).upper()
        del self.received[: end + len(terminator)]
        if self.in_data:
            self.in_data = False
            MessageCount.add()
            self.answers += b"250 taken\r\n"
        elif line.startswith(b"EHLO"):
            self.answers += b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n"
        elif line.startswith(b"DATA"):
            self.in_data = True
            self.answers += b"354 go on\r\n"
        elif line.startswith(b"QUIT"):
            self.answers += b"221 bye\r\n"
            self.is_ending = True
        else:
            self.answers += b"250 ok\r\n"
        return True


if __name__ == "__main__":
    main(Session, *sys.argv[1:3])
