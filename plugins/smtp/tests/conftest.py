"""Fixtures: an SMTP server with faults, relays that send to it, and a message."""

import asyncio
import contextlib
import socket
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from gatepost.hookspecs import Context
from gatepost.model import Email, Mailbox, Secret
from gatepost.observe import logs
from gatepost.testing.serving import stop
from gatepost_smtp import Settings, SmtpRelay

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
EXTENSIONS = ("8BITMIME", "SIZE 10000000", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES")
DEFAULTS = {
    "connect": "220 sink.example ESMTP",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go on",
    "END": "250 2.0.0 ok, queued as 4XyZ",
    "RSET": "250 2.0.0 ok",
    "NOOP": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
    "AUTH": "235 2.7.0 ok",
}


@dataclass
class Fault:
    kind: str
    text: str
    times: float
    seconds: float = 0


@dataclass
class Received:
    """A received mail: its commands and its content, byte for byte and still dot-stuffed."""

    mail: bytes
    recipients: list[bytes] = field(default_factory=list)
    raw: bytes = b""

    @property
    def content(self):
        return self.raw.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


class ConnectionClosed(Exception):
    pass


class Sink:
    """An SMTP server that records every byte, with faults at the stages that a test chooses.

    Stages: connect, EHLO, AUTH, MAIL, RCPT, DATA, BODY (in the middle of the content), END, RSET, NOOP, QUIT.
    """

    def __init__(self, advance_clock):
        self._advance_clock = advance_clock
        self.extensions = list(EXTENSIONS)
        self.mails = []
        self.commands = []
        self.sessions = 0
        self.open = 0
        self.max_open = 0
        self.max_sessions = float("inf")
        """Sessions at once; more are refused at ``refusal_stage`` with ``refusal``, or closed if that is empty."""
        self.refusal_stage = "connect"
        self.refusal = "421 4.7.0 too many connections from you"
        self.refused = 0
        self.quit_delay = 0.0
        """Seconds that a session still counts after the answer to QUIT."""
        self.reached = defaultdict(asyncio.Event)
        self.gate = asyncio.Event()
        self._faults = defaultdict(list)
        self._tasks = {}

    def answer(self, stage, text, times=float("inf")):
        self._faults[stage].append(Fault("answer", text, times))

    def hang_up(self, stage, times=float("inf"), after=""):
        self._faults[stage].append(Fault("hang_up", after, times))

    def stall(self, stage, times=float("inf"), seconds=3600):
        """Stop answering, and advance the loop's clock by these seconds."""
        self._faults[stage].append(Fault("stall", "", times, seconds))

    def drip(self, stage, text, seconds=1):
        """Answer byte by byte, and advance the loop's clock by these seconds for each."""
        self._faults[stage].append(Fault("drip", text, float("inf"), seconds))

    def wait_at(self, stage):
        """Answer only after ``gate`` is set."""
        self._faults[stage].append(Fault("gate", "", float("inf")))

    def clear_faults(self):
        """Behave correctly from now on."""
        self._faults.clear()

    def close_all_sessions(self):
        """Close every connection."""
        for writer in self._tasks.values():
            writer.close()

    async def wait_for_all_sessions(self):
        """Wait until every session has ended."""
        await asyncio.wait(list(self._tasks))

    @contextlib.asynccontextmanager
    async def serving(self):
        server = await asyncio.start_server(self._session, "127.0.0.1", 0, limit=2**25)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await stop(server)
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def _session(self, reader, writer):
        task = asyncio.current_task()
        self._tasks[task] = writer
        self.sessions += 1
        self.open += 1
        allowed = self.open <= self.max_sessions
        self.refused += not allowed
        self.max_open = max(self.max_open, self.open)
        try:
            if not allowed:
                await self._refuse(reader, writer)
            await self._handle_commands(reader, writer)
        except (ConnectionClosed, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            del self._tasks[task]
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _handle_commands(self, reader, writer):
        await self._reply(writer, "connect")
        current = None
        while line := await reader.readline():
            self.commands.append(line)
            verb = line[:4].strip().upper().decode("ascii", "replace")
            if verb == "EHLO":
                lines = ["sink.example", *self.extensions]
                greeting = [f"250-{text}" for text in lines[:-1]] + [f"250 {lines[-1]}"]
                await self._reply(writer, verb, "\r\n".join(greeting))
                continue
            code = await self._reply(writer, verb, DEFAULTS.get(verb, "500 5.5.1 what?"))
            if verb == "QUIT":
                await asyncio.sleep(self.quit_delay)
                return
            if verb == "RSET":
                current = None
            elif verb == "MAIL" and code.startswith("2"):
                current = Received(line)
            elif verb == "RCPT" and code.startswith("2"):
                current.recipients.append(line)
            elif verb == "DATA" and code.startswith("3"):
                if self._faults["BODY"]:
                    await reader.readexactly(100)
                    await self._reply(writer, "BODY")
                current.raw = await reader.readuntil(b"\r\n.\r\n")
                if (await self._reply(writer, "END")).startswith("2"):
                    self.mails.append(current)
                current = None

    async def _refuse(self, reader, writer):
        if self.refusal_stage != "connect":
            await self._reply(writer, "connect")
            await reader.readline()
        if self.refusal:
            writer.write(f"{self.refusal}\r\n".encode())
        else:
            writer.transport.abort()
        raise ConnectionClosed

    async def _reply(self, writer, stage, text=None):
        self.reached[stage].set()
        text = text or DEFAULTS.get(stage, "")
        faults = self._faults[stage]
        fault = next((fault for fault in faults if fault.times > 0), None)
        if fault is not None:
            fault.times -= 1
            if fault.kind in {"answer", "drip"}:
                text = fault.text
            elif fault.kind == "hang_up":
                writer.write(f"{fault.text}\r\n".encode() if fault.text else b"")
                raise ConnectionClosed
            elif fault.kind == "stall":
                self._advance_clock(fault.seconds)
                await asyncio.Event().wait()
            elif fault.kind == "gate":
                writer.transport.pause_reading()
                await self.gate.wait()
                writer.transport.resume_reading()
            if fault.kind == "drip":
                for byte in f"{text}\r\n".encode():
                    writer.write(bytes([byte]))
                    self._advance_clock(fault.seconds)
                    # Time for the client to read it.
                    await asyncio.sleep(0.001)
                return text
        if text:
            writer.write(f"{text}\r\n".encode())
            await writer.drain()
        return text


@pytest.fixture
async def sink(set_ahead):
    async with Sink(set_ahead).serving() as serving:
        yield serving


@pytest.fixture
def closed_port():
    """A port on which no process listens or can start to listen."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def connected():
    """``async with connected(port, timeout=…, **settings) as relay``"""

    @contextlib.asynccontextmanager
    async def open_relay(port, *, timeout=20.0, **settings):  # noqa: ASYNC109  the plugin's own
        settings = Settings(**{"host": "127.0.0.1", "port": port, "security": "none"} | settings)
        relay = SmtpRelay(settings, Context(name="relay", log=logs.get("relay"), timeout=timeout))
        async with relay.lifespan():
            yield relay

    return open_relay


@pytest.fixture
async def relay(sink, connected):
    async with connected(sink.port) as open_relay:
        yield open_relay


@pytest.fixture
def an_email():
    """Create a message; keywords replace the defaults."""

    def create(**changes):
        changes.setdefault("recipient", "ann.example+tag@post.example")
        changes["recipient"] = Secret(changes["recipient"])
        values = {
            "id": ID,
            "sender": Mailbox("news@amazing.example", "Amazing, Inc"),
            "subject": "Your weekly letter",
            "html": "<p>Hello</p>",
            "text": "Hello",
            "lifetime": 3600.0,
        }
        return Email(**(values | changes))

    return create
