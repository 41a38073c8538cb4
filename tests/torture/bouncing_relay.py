"""The provider of a deployment as a mail server: it takes each mail, and returns it to the listener of a gateway."""

import asyncio
import math
import random
import secrets
import socket
import time
import uuid
from collections.abc import Mapping
from typing import Self

import aiosmtpd.smtp

from gatepost.testing.serving import stop
from torture.oracle import Excuse

BOUNCE_DOMAIN = "bounces.brand.example"

MAX_DELIVERIES = 20
"""Bounces on their way at once, as by Postfix's default."""

RETRY_PAUSE = 0.2
"""Seconds before a bounce that was not taken is tried again; a real mail server waits for minutes, and tries for days."""

DELIVERY_TIMEOUT = 60.0

_BOUNCE = """\
From: MAILER-DAEMON@relay.example
To: {return_path}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=limit

--limit
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.1.1
--limit--
"""


class BouncingRelay:
    """A mail server that brings a bounce of each mail, and tries again until a gateway has taken it."""

    def __init__(self, rng: random.Random, *, max_delay: float) -> None:
        """``max_delay`` is the longest time in seconds before a mail is taken, before the answer, and before the bounce."""
        self.send_times: list[tuple[float, str]] = []
        """When which message was taken."""
        self.acknowledged_reports: dict[str, set[str]] = {}
        """By message id, ``failed`` if a gateway took the bounce."""
        self.late_answers: list[Excuse] = []
        """Messages that were taken, but the gateway had gone or may have given up."""
        self.answer_timeout = math.inf
        """Seconds after which a gateway may have stopped waiting for an answer."""
        self.deliveries = 0
        """Tries to bring a bounce."""
        self.lost_replies = 0
        """Tries in which the connection broke after the whole bounce was sent."""
        self.refused: list[str] = []
        """The replies of gateways that will never take a bounce."""
        self._rng = rng
        self._max_delay = max_delay
        self._secret = secrets.token_hex(16)
        self._listeners: list[socket.socket] = []
        self._bouncing: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(MAX_DELIVERIES)
        self._sessions: list[aiosmtpd.smtp.SMTP] = []

    def plugin_table(self, _replica: int) -> Mapping[str, object]:
        """Return the table of the plugin that sends through this server, with a listener on a port of its own."""
        # Bound here without listening, so that nothing else gets the port while the gateway does not run.
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        self._listeners.append(held)
        return {
            "use": "smtp",
            "host": "127.0.0.1",
            "port": self._server.sockets[0].getsockname()[1],
            "security": "none",
            "connections": 16,
            "bounce_domain": BOUNCE_DOMAIN,
            "bounce_listen": "{}:{}".format(*held.getsockname()),
            "webhook_secret": self._secret,
        }

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        began = time.monotonic()
        await asyncio.sleep(self._rng.uniform(0, self._max_delay))
        return_path, [recipient] = envelope.mail_from, envelope.rcpt_tos
        message_id = str(uuid.UUID(return_path.removeprefix("b+").partition("-")[0]))
        self.send_times.append((time.monotonic(), message_id))
        bounce = _BOUNCE.format(return_path=return_path, recipient=recipient)
        task = asyncio.create_task(self._bring(message_id, return_path, bounce))
        self._bouncing.add(task)
        task.add_done_callback(self._bouncing.discard)
        await asyncio.sleep(self._rng.uniform(0, self._max_delay))
        if server.transport.is_closing() or time.monotonic() - began > self.answer_timeout:
            self.late_answers.append(Excuse(time.monotonic(), frozenset({message_id})))
        return "250 2.0.0 taken"

    async def wait_until_reported(self) -> None:
        """Wait until each bounce is taken."""
        while self._bouncing:
            await asyncio.wait(self._bouncing)

    @property
    def waiting(self) -> int:
        """The number of bounces that are not taken yet."""
        return len(self._bouncing)

    async def _bring(self, message_id: str, return_path: str, bounce: str) -> None:
        await asyncio.sleep(self._rng.uniform(0, self._max_delay))
        while True:
            async with self._slots:
                self.deliveries += 1
                # Each gateway is a mail exchanger of the bounce domain.
                reply = await self._deliver(self._rng.choice(self._listeners), return_path, bounce)
            if reply.startswith("2"):
                self.acknowledged_reports.setdefault(message_id, set()).add("failed")
                return
            if reply.startswith("5"):
                self.refused.append(reply)
                return
            await asyncio.sleep(RETRY_PAUSE)

    async def _deliver(self, listener: socket.socket, return_path: str, bounce: str) -> str:
        """Try to bring a bounce; return the last reply, or nothing if there was none."""
        sent = False
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                try:
                    reply = await _reply(reader)
                    envelope = "EHLO relay.example", "MAIL FROM:<>", f"RCPT TO:<{return_path}>", "DATA"
                    for text in (*envelope, f"{bounce}."):
                        if reply[0] not in "23":
                            break
                        writer.write(text.replace("\n", "\r\n").encode() + b"\r\n")
                        sent = text.endswith("\n.")
                        reply = await _reply(reader)
                    return reply
                finally:
                    writer.close()
        except (OSError, EOFError, TimeoutError):
            self.lost_replies += sent
            return ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._session, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._bouncing:
            task.cancel()
        await asyncio.gather(*self._bouncing, return_exceptions=True)
        await stop(self._server)
        # Closing the server does not close its connections.
        for session in self._sessions:
            if session.transport:
                session.transport.abort()
        for held in self._listeners:
            held.close()

    def _session(self) -> aiosmtpd.smtp.SMTP:
        session = aiosmtpd.smtp.SMTP(self, hostname="relay.example", loop=asyncio.get_running_loop())
        self._sessions.append(session)
        return session


async def _reply(reader: asyncio.StreamReader) -> str:
    """Return the last line of a reply; raise EOFError if the connection ends."""
    while True:
        line = (await reader.readuntil(b"\n")).decode()
        if line[3:4] != "-":
            return line.strip()
