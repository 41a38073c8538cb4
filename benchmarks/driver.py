"""The load driver: keep-alive connections that post prepared bodies, one request at a time each.

``python benchmarks/driver.py URL CONNECTIONS SECONDS PREFIX [COUNT CALLBACK_URL]`` posts emails to ``URL/email``,
each with its own uid, for SECONDS or until COUNT are sent, and prints what it counted as JSON.
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
"""Three kilobytes, the size of a plain transactional mail."""
TEXT = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor.\n" * 5


def email(uid: str, user: int, callback_url: str = "") -> bytes:
    """Return the body of a request as Smartico sends it."""
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
    """A connection that sends the next request as soon as the last one is answered."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.received = b""
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send_next()

    def send_next(self) -> None:
        request = self.load.request()
        if request is None:
            self.transport.close()
            return
        self.began = time.monotonic()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.received = body[length:]
        self.load.answered(time.monotonic() - self.began, accepted=self.load.accepts(head, body))
        self.send_next()

    def connection_lost(self, error: Exception | None) -> None:
        self.load.ended(error)


class Load:
    """All connections together, and what they count."""

    def __init__(
        self, url: str, connections: str, seconds: str, prefix: str, count: str = "0", callback_url: str = ""
    ) -> None:
        """``count`` is the largest number of requests; 0 for no limit."""
        self.parts = urlsplit(url)
        self.connections = int(connections)
        self.seconds = float(seconds)
        self.prefix = prefix
        self.max_count = int(count)
        self.callback_url = callback_url
        self.count = 0
        self.refused = 0
        self.broken = 0
        self.latencies: list[float] = []

    def request(self) -> bytes | None:
        if time.monotonic() >= self.until or self.count == self.max_count > 0:
            return None
        self.count += 1
        body = self.body()
        return (
            b"POST /email HTTP/1.1\r\nHost: bench\r\nAuthorization: letmein\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    def body(self) -> bytes:
        # Each placeholder and its replacement have the same length, so that all bodies do.
        return self.template.replace(b"UID-------", b"%10d" % self.count).replace(
            b"u000", b"u%d" % (self.count % USERS)
        )

    def accepts(self, head: bytes, body: bytes) -> bool:
        """Tell whether this answer says that the message was accepted."""
        return head.startswith(b"HTTP/1.1 200") and b'"error_code":0' in body

    def answered(self, seconds: float, *, accepted: bool) -> None:
        self.latencies.append(seconds)
        self.refused += not accepted

    def ended(self, error: Exception | None) -> None:
        self.broken += error is not None
        self.open -= 1
        if not self.open:
            self.done.set_result(None)

    def prepare(self) -> None:
        """Build the body that all requests share."""
        template = email(f"{self.prefix}-UID-------", 0, self.callback_url)
        self.template = template.replace(b'"u0"', b'"u000"')

    async def run(self) -> dict[str, float]:
        loop = asyncio.get_running_loop()
        self.prepare()
        self.done = loop.create_future()
        self.open = self.connections
        # The same clock as the servers' (``sink.py``), so that their times can be compared with this one.
        began = time.monotonic()
        self.until = began + self.seconds
        tls = ssl.create_default_context() if self.parts.scheme == "https" else None
        for _ in range(self.connections):
            await loop.create_connection(
                lambda: Connection(self), self.parts.hostname, self.parts.port, ssl=tls
            )
        await self.done
        seconds = time.monotonic() - began
        ordered = sorted(self.latencies)
        return {
            "count": len(ordered),
            "refused": self.refused + self.broken,
            "seconds": seconds,
            "began": began,
            "p50": ordered[len(ordered) // 2],
            "p99": ordered[int(len(ordered) * 0.99)],
        }


if __name__ == "__main__":
    import uvloop

    load = Load(*sys.argv[1:])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(load.run())))
