"""What a test of the bounce listener needs: a mail server that sends raw bytes, and a gateway that records reports."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

from gatepost.errors import Unavailable
from gatepost.model import Report

_TIMEOUT = 30.0
"""Seconds that a test waits for an answer; a busy machine is slow."""


class ReportRecorder:
    """The part of a running gateway that the listener needs: ``report`` and ``state`` of a Context."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.running = True
        """Whether the store can be reached."""
        self.reporting = asyncio.Event()
        """Set when a report has come."""
        self.gate = asyncio.Event()
        """A report waits until it is set."""
        self.gate.set()

    async def report(self, report: Report) -> int:
        """Record a report."""
        self.reporting.set()
        await self.gate.wait()
        if not self.running:
            raise Unavailable("the store can't take it now")
        self.reports.append(report)
        return 0

    async def read(self, _key: str) -> str:
        """Return an empty state."""
        if not self.running:
            raise Unavailable("the gateway is not running")
        return ""

    async def replace(self, _key: str, _old: str, _new: str) -> bool:
        """Keep the state empty."""
        return False

    @property
    def events(self) -> list[tuple[str, str, str]]:
        """The status, the message id and the code of each event, in order."""
        return [
            (event.status.value, event.message_id, event.code) for one in self.reports for event in one.events
        ]

    @property
    def ignored(self) -> list[str]:
        """The kinds of what was ignored, in order."""
        return [kind for report in self.reports for kind in report.ignored]


class BounceClient:
    """A mail server that sends exactly what a test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, port: int, host: str = "127.0.0.1") -> AsyncIterator[Self]:
        """Connect as soon as the port is open."""
        async with asyncio.timeout(_TIMEOUT):
            client = cls(*await _connect(port, host))
        try:
            yield client
        finally:
            client.writer.close()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()

    async def reply(self) -> int:
        """Return the code of the next reply; 0 when the connection is closed."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(_TIMEOUT):
                while line := await self.reader.readline():
                    if line[3:4] != b"-":
                        return int(line[:3])
        return 0

    async def command(self, data: str | bytes) -> int:
        """Send a line, or these bytes, and return the code of the reply."""
        self.writer.write(data if isinstance(data, bytes) else f"{data}\r\n".encode())
        return await self.reply()

    async def begin(self, *recipients: str, sender: str = "") -> list[int]:
        """Greet and send everything before the mail; return the codes of the replies to the recipients and to DATA."""
        await self.reply()
        await self.command("EHLO mx.example")
        await self.command(f"MAIL FROM:<{sender}>")
        commands = [*(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA"]
        return [await self.command(command) for command in commands]

    async def end(self, mail: str | bytes) -> int:
        """Send a mail, and return the code of the reply."""
        content = mail if isinstance(mail, bytes) else mail.encode()
        return await self.command(content + b"\r\n.\r\n")

    async def rest(self) -> bytes:
        """Return everything until the connection is closed."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(_TIMEOUT):
                return await self.reader.read()
        return b""


async def _connect(port: int, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
