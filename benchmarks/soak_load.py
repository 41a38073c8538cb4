"""Mails at a fixed rate: ``python benchmarks/soak_load.py URL RATE SECONDS CALLBACK_URL``.

Each minute it prints a line of JSON: what was answered, what was refused or broke, and the latencies in seconds. A latency
counts from the moment at which the request was due, so that a gateway which stands still for a second shows it in each request
of that second.
"""

import asyncio
import json
import ssl
import sys
import time
from collections import deque

from driver import Connection, Load

CONNECTIONS = 128
TICK = 0.01
"""Seconds between two looks at what is due."""


class PacedConnection(Connection):
    """A connection that waits for its next request."""

    load: "PacedLoad"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.load.idle.append(self)

    def send_next(self) -> None:
        self.load.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self.load.broken += 1


class PacedLoad(Load):
    """Requests at a fixed rate over kept connections."""

    def __init__(self, url: str, rate: float, seconds: float, callback_url: str) -> None:
        super().__init__(url, str(CONNECTIONS), str(seconds), "soak", "0", callback_url)
        self.rate = rate
        self.idle: deque[PacedConnection] = deque()

    def send_due(self, due: int, began: float) -> None:
        """Send the requests that are due and have a connection; the others wait, and their latency counts."""
        while self.count < due and self.idle:
            connection = self.idle.popleft()
            if connection.transport.is_closing():
                continue
            connection.began = began + self.count / self.rate
            request = self.request()
            assert request
            connection.transport.write(request)

    def minute(self) -> dict[str, float]:
        """Return what was counted since the last call."""
        ordered, self.latencies = sorted(self.latencies) or [0.0], []
        figures = {
            "count": len(ordered),
            "refused": self.refused + self.broken,
            "p50": ordered[len(ordered) // 2],
            "p99": ordered[int(len(ordered) * 0.99)],
            "longest": ordered[-1],
        }
        self.refused = self.broken = 0
        return figures

    async def run_paced(self) -> None:
        self.prepare()
        self.until = float("inf")
        tls = ssl.create_default_context() if self.parts.scheme == "https" else None
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(
                lambda: PacedConnection(self), self.parts.hostname, self.parts.port, ssl=tls
            )
        began = time.monotonic()
        next_minute = began + 60
        while (now := time.monotonic()) < began + self.seconds:
            self.send_due(int((now - began) * self.rate), began)
            if now >= next_minute:
                print(json.dumps(self.minute()), flush=True)
                next_minute += 60
            await asyncio.sleep(TICK)
        while len(self.idle) < CONNECTIONS and time.monotonic() < began + self.seconds + 30:  # noqa: ASYNC110
            await asyncio.sleep(TICK)
        print(json.dumps({**self.minute(), "sent": self.count}), flush=True)


if __name__ == "__main__":
    import uvloop

    url, rate, seconds, callback_url = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(PacedLoad(url, float(rate), float(seconds), callback_url).run_paced())
