"""One bind: a connection that is opened again after each loss, and the requests in both directions on it."""

import asyncio
import copy
import random
import ssl
from collections.abc import Callable
from contextlib import suppress

from gatepost.errors import Unavailable, Uncertain
from gatepost_smpp import pdu
from gatepost_smpp.messages import bind_body
from gatepost_smpp.pdu import Pdu
from gatepost_smpp.settings import Settings
from gatepost_smpp.statuses import unavailable

Deliver = Callable[[asyncio.StreamWriter, Pdu], None]
"""Gets each deliver_sm, with the connection that wants its answer."""
Late = Callable[[str, Pdu], None]
"""Gets our id and the answer of a message whose send has ended before."""

_MAX_PAUSE = 60.0
"""Seconds between two attempts to bind: 1 at first, doubled after each failure, and ended early by a send."""
_MAX_BUFFER = 16 * 1024
_MAX_SEQUENCE = 0x7FFFFFFF
_INVALID_COMMAND = 0x03


def answer(writer: asyncio.StreamWriter, request: Pdu, body: bytes = b"", *, status: int = 0) -> None:
    """Answer a request of the provider on its connection; where that is lost, it needs no answer."""
    if not writer.is_closing():
        writer.write(pdu.encode(request.command | pdu.RESPONSE, request.sequence, body, status=status))


class Bind:
    """A bind as transceiver. A task runs ``keep``."""

    def __init__(
        self, settings: Settings, tls: ssl.SSLContext | None, timeout: float, deliver: Deliver, late: Late
    ) -> None:
        self._settings, self._tls, self._timeout = settings, tls, timeout
        self._deliver, self._late = deliver, late
        self.load = 0
        """Requests without an answer, also those that have not left yet."""
        self._window = asyncio.Semaphore(settings.window)
        self._sequence = 0
        # The future's result is None where the connection is lost. Beside it is our id of the message.
        self._answers: dict[int, tuple[asyncio.Future[Pdu | None], str]] = {}
        self._writer: asyncio.StreamWriter | None = None
        # The result of the attempt to bind that is going on, or of the next one.
        self._attempt: asyncio.Future[Unavailable | None] = asyncio.get_running_loop().create_future()
        self._wanted = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether the bind stands, as far as is known."""
        return self._writer is not None and not self._writer.is_closing()

    async def request(self, deadline: float, command: int, body: bytes = b"", message_id: str = "") -> Pdu:
        """Send a request and return its answer. Half of the timeout is kept for the answer.

        Raises Unavailable where it has not left, and Uncertain where it may have.
        """
        until_sent = asyncio.timeout_at(deadline - self._timeout / 2)
        self.load += 1
        try:
            async with until_sent:
                if not self.is_open:
                    self._wanted.set()
                    # Shielded: other sends wait for it too, and each raises an error of its own.
                    if problem := await asyncio.shield(self._attempt):
                        raise copy.copy(problem)
                async with self._window:
                    sent = self._write(command, body, message_id)
                    until_sent.reschedule(deadline)
                    received = await sent
        except TimeoutError:
            if until_sent.when() == deadline:
                raise Uncertain("no answer in time") from None
            is_busy = self.is_open
            reason = "no place in the window in time" if is_busy else "no bind in time"
            raise Unavailable(reason, message_only=is_busy) from None
        finally:
            self.load -= 1
        if received is None:
            raise Uncertain("the connection was lost before the answer")
        return received

    async def keep(self) -> None:
        """Bind, and bind again after each loss, until cancelled."""
        pause = 0.0
        while True:
            problem = await self._serve()
            # The attempt is over where the bind stood.
            pause = 1.0 if self._attempt.done() else min(max(1.0, 2 * pause), _MAX_PAUSE)
            if not self._attempt.done():
                self._attempt.set_result(problem)
            self._attempt = asyncio.get_running_loop().create_future()
            self._wanted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.8 * pause, 1.2 * pause)):  # noqa: S311  no secret
                    await self._wanted.wait()

    def _write(self, command: int, body: bytes = b"", message_id: str = "") -> asyncio.Future[Pdu | None]:
        if self._writer is None or self._writer.is_closing():
            raise Unavailable("the connection was lost before the message left")
        self._sequence = self._sequence % _MAX_SEQUENCE + 1
        waiting: asyncio.Future[Pdu | None] = asyncio.get_running_loop().create_future()
        self._answers[self._sequence] = waiting, message_id
        self._writer.write(pdu.encode(command, self._sequence, body))
        return waiting

    async def _serve(self) -> Unavailable:
        """Bind, and read until the connection ends; return why it did."""
        writer: asyncio.StreamWriter | None = None
        address = self._settings.host, self._settings.port
        try:
            async with asyncio.timeout(self._timeout):
                stream, writer = await asyncio.open_connection(*address, ssl=self._tls, limit=_MAX_BUFFER)
                writer.write(pdu.encode(pdu.BIND_TRANSCEIVER, 1, bind_body(self._settings)))
                reader = pdu.Reader(stream)
                bound = await reader.next()
            if bound.status:
                return unavailable(bound.status, of_bind=True)
            self._sequence, self._writer = 1, writer
            self._attempt.set_result(None)
            await self._read(reader, writer)
        except (OSError, EOFError, ValueError, Unavailable) as error:
            reason = f"no bind ({type(error).__name__}): check host, port, tls and ca_file"
            return Unavailable(reason, misconfigured=isinstance(error, ssl.SSLCertVerificationError))
        finally:
            if self.is_open:
                self._write(pdu.UNBIND)
            self._writer = None
            if writer is not None:
                writer.transport.abort()
            for waiting, _ in self._answers.values():
                if not waiting.done():
                    waiting.set_result(None)
            self._answers.clear()
        return Unavailable("the provider has ended the bind")

    async def _read(self, reader: pdu.Reader, writer: asyncio.StreamWriter) -> None:
        """Read until the provider unbinds. After a silence ask whether it is there; raise TimeoutError if it is not."""
        is_probing = False
        while True:
            try:
                async with asyncio.timeout(self._timeout if is_probing else self._settings.enquire_link):
                    received = await reader.next()
            except TimeoutError:
                if is_probing:
                    raise
                self._write(pdu.ENQUIRE_LINK)
                is_probing = True
                continue
            is_probing = False
            if received.command & pdu.RESPONSE:
                waiting, message_id = self._answers.pop(received.sequence, (None, ""))
                if waiting is not None and not waiting.done():
                    waiting.set_result(received)
                elif message_id:
                    self._late(message_id, received)
            elif received.command == pdu.DELIVER_SM:
                self._deliver(writer, received)
            elif received.command in {pdu.ENQUIRE_LINK, pdu.UNBIND}:
                answer(writer, received)
                if received.command == pdu.UNBIND:
                    return
            else:
                answer(writer, received._replace(command=pdu.GENERIC_NACK), status=_INVALID_COMMAND)
