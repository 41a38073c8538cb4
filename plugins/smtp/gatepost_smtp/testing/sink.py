"""An SMTP server that records every byte, and fails where a test wants it to."""

import asyncio
import contextlib
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Self, cast

from gatepost.testing.serving import stop
from gatepost_smtp.testing.extensions import refusal_of_command, refusal_of_content

_EXTENSIONS = ("PIPELINING", "8BITMIME", "SIZE 10000000", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES")
_ANSWERS = {
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
class _Fault:
    """What goes wrong at a stage."""

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
    def content(self) -> bytes:
        """The content without its dot-stuffing."""
        return self.raw.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


class _ConnectionClosed(Exception):
    pass


class Sink:
    """An SMTP server that records every byte, with faults at the stages that a test chooses.

    It ends a session in which commands come together without PIPELINING, or anything after DATA before its answer. It
    refuses what needs an extension that it does not offer. Stages: connect, EHLO, AUTH, MAIL, RCPT, DATA, BODY (in the middle of the content), END, RSET, NOOP, QUIT.
    """

    def __init__(self, advance_clock: Callable[[float], None] = lambda _: None) -> None:
        """``advance_clock`` sets the event loop's clock ahead by some seconds; by default it stays a real one."""
        self._advance_clock = advance_clock
        self.port = 0
        self.extensions = list(_EXTENSIONS)
        self.mails: list[Received] = []
        self.commands: list[bytes] = []
        self.incomplete: list[bytes] = []
        """What came of contents whose session ended before their end."""
        self.sessions = 0
        self.open = 0
        self.max_open = 0
        self.max_sessions = math.inf
        """Sessions at once; more are refused at ``refusal_stage`` with ``refusal``, or closed if that is empty."""
        self.refusal_stage = "connect"
        self.refusal = "421 4.7.0 too many connections from you"
        self.refused = 0
        self.refuse_mail: Callable[[int], str] = lambda _mails: ""
        """Returns the refusal of a MAIL after a number of mails over its session; empty: none. 421 ends the session."""
        self.needs_recipients = True
        """Whether DATA is refused without a recipient, as it should be."""
        self.quit_delay = 0.0
        """Seconds that a session still counts after the answer to QUIT."""
        self.drip_pause = 0.001
        """Real seconds between the single bytes of a slow answer."""
        self.reached: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.gate = asyncio.Event()
        self._faults: defaultdict[str, list[_Fault]] = defaultdict(list)
        self._tasks: dict[asyncio.Task[Any] | None, asyncio.StreamWriter] = {}

    def answer(self, stage: str, text: str, times: float = math.inf) -> None:
        """Give this answer."""
        self._faults[stage].append(_Fault("answer", text, times))

    def hang_up(self, stage: str, times: float = math.inf, after: str = "") -> None:
        """Close the connection, after this text."""
        self._faults[stage].append(_Fault("hang_up", after, times))

    def stall(self, stage: str, times: float = math.inf, seconds: float = 3600) -> None:
        """Stop answering, and advance the loop's clock by these seconds."""
        self._faults[stage].append(_Fault("stall", "", times, seconds))

    def drip(self, stage: str, text: str, seconds: float = 1) -> None:
        """Answer byte by byte, and advance the loop's clock by these seconds for each."""
        self._faults[stage].append(_Fault("drip", text, math.inf, seconds))

    def wait_at(self, stage: str) -> None:
        """Answer only after ``gate`` is set."""
        self._faults[stage].append(_Fault("gate", "", math.inf))

    def clear_faults(self) -> None:
        """Behave correctly from now on."""
        self._faults.clear()

    def close_all_sessions(self) -> None:
        """Close every connection."""
        for writer in self._tasks.values():
            writer.close()

    async def wait_for_all_sessions(self) -> None:
        """Wait until every session has ended."""
        await asyncio.wait([task for task in self._tasks if task])

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Serve on a free port; at the end close every session."""
        server = await asyncio.start_server(self._session, "127.0.0.1", 0, limit=2**25)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await stop(server)
            tasks = [task for task in self._tasks if task]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
        except (_ConnectionClosed, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            del self._tasks[task]
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _handle_commands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._reply(writer, "connect")
        current: Received | None = None
        mails = 0
        while line := await reader.readline():
            self.commands.append(line)
            verb = line[:4].strip().upper().decode("ascii", "replace")
            self._check_pipelining(verb, reader, writer)
            if verb == "EHLO":
                lines = ["sink.example", *self.extensions]
                greeting = [f"250-{text}" for text in lines[:-1]] + [f"250 {lines[-1]}"]
                await self._reply(writer, verb, "\r\n".join(greeting))
                continue
            refusal = self.refuse_mail(mails) if verb == "MAIL" else self._out_of_order(verb, current)
            if verb in {"MAIL", "RCPT"} and not refusal:
                refusal = refusal_of_command(line, current.mail if current else line, self.extensions)
            code = await self._reply(writer, verb, refusal or _ANSWERS.get(verb, "500 5.5.1 what?"))
            if verb == "QUIT" or refusal.startswith("421"):
                await asyncio.sleep(self.quit_delay)
                return
            if verb == "RSET":
                current = None
            elif verb == "MAIL" and code.startswith("2"):
                current = Received(line)
            elif verb == "RCPT" and current and code.startswith("2"):
                current.recipients.append(line)
            elif verb == "DATA" and code.startswith("3"):
                await self._receive(current or Received(b""), reader, writer)
                current = None
                mails += 1

    def _check_pipelining(
        self, verb: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        may_go_on = "PIPELINING" in self.extensions and verb in {"MAIL", "RCPT", "RSET"}
        if reader._buffer and not may_go_on:  # type: ignore[attr-defined]  # noqa: SLF001  no public way
            writer.write(b"503 5.5.0 improper pipelining\r\n")
            raise _ConnectionClosed

    def _out_of_order(self, verb: str, current: Received | None) -> str:
        """Return the answer to a command that may not come now; empty: it may."""
        if not self.needs_recipients or verb not in {"RCPT", "DATA"}:
            return ""
        if current is None:
            return "503 5.5.1 MAIL first"
        return "" if verb == "RCPT" or current.recipients else "554 5.5.1 no valid recipients"

    async def _receive(
        self, mail: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Receive the content of a mail."""
        if self._faults["BODY"]:
            await reader.readexactly(100)
            await self._reply(writer, "BODY")
        try:
            mail.raw = await reader.readuntil(b"\r\n.\r\n")
        except asyncio.IncompleteReadError as error:
            self.incomplete.append(error.partial)
            raise
        refusal = refusal_of_content(mail.content, mail.mail)
        if (await self._reply(writer, "END", refusal)).startswith("2"):
            self.mails.append(mail)

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusal_stage != "connect":
            await self._reply(writer, "connect")
            await reader.readline()
        if self.refusal:
            writer.write(f"{self.refusal}\r\n".encode())
        else:
            writer.transport.abort()
        raise _ConnectionClosed

    async def _reply(self, writer: asyncio.StreamWriter, stage: str, text: str = "") -> str:
        self.reached[stage].set()
        text = text or _ANSWERS.get(stage, "")
        faults = self._faults[stage]
        fault = next((fault for fault in faults if fault.times > 0), None)
        if fault is not None:
            fault.times -= 1
            if fault.kind in {"answer", "drip"}:
                text = fault.text
            elif fault.kind == "hang_up":
                writer.write(f"{fault.text}\r\n".encode() if fault.text else b"")
                raise _ConnectionClosed
            elif fault.kind == "stall":
                # The client shares this loop, and first gets the answers to earlier commands.
                await asyncio.sleep(0.01)
                self._advance_clock(fault.seconds)
                await asyncio.Event().wait()
            elif fault.kind == "gate":
                transport = cast(asyncio.Transport, writer.transport)
                transport.pause_reading()
                await self.gate.wait()
                transport.resume_reading()
            if fault.kind == "drip":
                for byte in f"{text}\r\n".encode():
                    writer.write(bytes([byte]))
                    self._advance_clock(fault.seconds)
                    # Time for the client to read it.
                    await asyncio.sleep(self.drip_pause)
                return text
        if text:
            writer.write(f"{text}\r\n".encode())
            await writer.drain()
        return text
