"""A load driver in a process of its own: kept connections, prepared bytes, one answer awaited each.

``python benchmarks/driver.py URL CONNECTIONS SECONDS PREFIX [COUNT CALLBACK_URL]`` posts emails to ``URL/email``,
each with a uid of its own, until the time is up or so many are sent, and prints what it counted as JSON.
"""

import asyncio
import json
import ssl
import sys
import time
from urllib.parse import urlsplit

USERS = 1000
PARAGRAPH = "<p>Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor.</p>"
HTML = "<html><body>" + PARAGRAPH * 35 + "</body></html>"
"""Three kilobytes: what a plain transactional mail has."""
TEXT = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor.\n" * 5


def email(uid: str, user: int, callback_url: str = "") -> bytes:
    """A request's body, as Smartico sends it."""
    return json.dumps(
        {
            "ext_user_id": f"u{user % USERS}",
            "from_email_address": "Amazing <noreply@amazing.example>",
            "subject": "Your weekly bonus is here",
            "body": HTML,
            "text_body": TEXT,
            "email_uid": uid,
            **({"callback_url": callback_url} if callback_url else {}),
        }
    ).encode()


class Connection(asyncio.Protocol):
    """One caller: sends the next request when the last one is answered."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.received = b""
        self.begun = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        request = self.load.request()
        if request is None:
            self.transport.close()
            return
        self.begun = time.monotonic()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.received = body[length:]
        accepted = head.startswith(b"HTTP/1.1 200") and b'"error_code":0' in body
        self.load.answered(time.monotonic() - self.begun, accepted=accepted)
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        self.load.ended(error)


class Load:
    """All callers together, for so many seconds and at most so many requests."""

    def __init__(
        self, url: str, connections: str, seconds: str, prefix: str, most: str = "0", callback_url: str = ""
    ) -> None:
        """``most``: 0 for no bound."""
        self.parts = urlsplit(url)
        self.connections = int(connections)
        self.seconds = float(seconds)
        self.prefix = prefix
        self.most = int(most)
        self.callback_url = callback_url
        self.count = 0
        self.refused = 0
        self.broken = 0
        self.latencies: list[float] = []

    def request(self) -> bytes | None:
        if time.monotonic() >= self.until or self.count == self.most > 0:
            return None
        self.count += 1
        body = self.body()
        return (
            b"POST /email HTTP/1.1\r\nHost: bench\r\nAuthorization: letmein\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    def body(self) -> bytes:
        # The mark is of the same length whatever the count is, so that every body is.
        return self.template.replace(b"UID-------", b"%10d" % self.count).replace(
            b"u000", b"u%d" % (self.count % USERS)
        )

    def answered(self, seconds: float, *, accepted: bool) -> None:
        self.latencies.append(seconds)
        self.refused += not accepted

    def ended(self, error: Exception | None) -> None:
        self.broken += error is not None
        self.open -= 1
        if not self.open:
            self.done.set_result(None)

    async def run(self) -> dict[str, float]:
        loop = asyncio.get_running_loop()
        template = email(f"{self.prefix}-UID-------", 0, self.callback_url)
        self.template = template.replace(b'"u0"', b'"u000"')
        self.done = loop.create_future()
        self.open = self.connections
        # The clock of the stand-ins, so that what they note can be told apart from here.
        begun = time.monotonic()
        self.until = begun + self.seconds
        tls = ssl.create_default_context() if self.parts.scheme == "https" else None
        for _ in range(self.connections):
            await loop.create_connection(
                lambda: Connection(self), self.parts.hostname, self.parts.port, ssl=tls
            )
        await self.done
        took = time.monotonic() - begun
        ordered = sorted(self.latencies)
        return {
            "count": len(ordered),
            "refused": self.refused + self.broken,
            "seconds": took,
            "begun": begun,
            "p50": ordered[len(ordered) // 2],
            "p99": ordered[int(len(ordered) * 0.99)],
        }


if __name__ == "__main__":
    import uvloop

    made = Load(*sys.argv[1:])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(made.run())))
