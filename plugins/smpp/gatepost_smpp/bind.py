"""One bind: a connection that is opened again after each loss, and the requests in both directions on it."""

import asyncio
import copy
import random
import ssl
from contextlib import nullcontext

from gatepost.errors import Unavailable, Uncertain
from gatepost_smpp import pdu
from gatepost_smpp.deliveries import Deliveries
from gatepost_smpp.messages import bind_body
from gatepost_smpp.pdu import Pdu
from gatepost_smpp.settings import Settings
from gatepost_smpp.statuses import unavailable

_MAX_PAUSE = 60.0
"""Seconds between two attempts to bind: 1 at first, doubled after each failure, and ended early by a send."""
_MAX_SILENCE = 30.0
"""Seconds until the provider is asked whether it is there."""
_MAX_SEQUENCE = 0x7FFFFFFF
_INVALID_COMMAND = 0x03


class Bind:
    """A bind as transceiver. A task runs ``keep``."""

    def __init__(
        self, settings: Settings, tls: ssl.SSLContext | None, timeout: float, deliveries: Deliveries
    ) -> None:
        self._settings, self._tls, self._timeout, self._deliveries = settings, tls, timeout, deliveries
        self.load = 0
        """Requests without an answer, also those that have not left yet."""
        self._window = asyncio.Semaphore(settings.window)
        self._sequence = 0
        # The future's result is None where the connection is lost. Beside it is our id of the message.
        self._answers: dict[int, tuple[asyncio.Future[Pdu | None], str]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._loop = asyncio.get_running_loop()
        # The result of the attempt to bind that is going on, or of the next one.
        self._attempt: asyncio.Future[Unavailable | None] = self._loop.create_future()
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
                async with self._window if command == pdu.SUBMIT_SM else nullcontext():
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
            self._attempt = self._loop.create_future()
            self._wanted.clear()
            wake = self._loop.call_later(random.uniform(0.8 * pause, 1.2 * pause), self._wanted.set)  # noqa: S311
            await self._wanted.wait()
            wake.cancel()

    def _write(self, command: int, body: bytes = b"", message_id: str = "") -> asyncio.Future[Pdu | None]:
        if self._writer is None or self._writer.is_closing():
            raise Unavailable("the connection was lost before the message left")
        self._sequence = self._sequence % _MAX_SEQUENCE + 1
        waiting: asyncio.Future[Pdu | None] = self._loop.create_future()
        self._answers[self._sequence] = waiting, message_id
        self._writer.write(pdu.encode(command, self._sequence, body))
        return waiting

    async def _serve(self) -> Unavailable:
        """Bind, and read until the connection ends; return why it did."""
        writer: asyncio.StreamWriter | None = None
        address = self._settings.host, self._settings.port
        try:
            async with asyncio.timeout(self._timeout):
                stream, writer = await asyncio.open_connection(*address, ssl=self._tls)
                writer.write(pdu.encode(pdu.BIND_TRANSCEIVER, 1, bind_body(self._settings)))
                bound = await pdu.read(stream)
            if bound.status:
                return unavailable(bound.status, of_bind=True)
            self._sequence, self._writer = 1, writer
            self._attempt.set_result(None)
            await self._read(stream, writer)
        except (OSError, EOFError, ValueError) as error:
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

    async def _read(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read until the provider unbinds. Ask a silent one whether it is there; raise TimeoutError if it is not."""
        async with asyncio.timeout(None) as silence:
            while True:
                silence.reschedule(self._loop.time() + _MAX_SILENCE + self._timeout)
                enquiry = self._loop.call_later(_MAX_SILENCE, self._enquire)
                try:
                    received = await pdu.read(stream)
                finally:
                    enquiry.cancel()
                if received.command & pdu.RESPONSE:
                    self._take_answer(received)
                elif received.command == pdu.DELIVER_SM:
                    self._deliveries.take(writer, received)
                elif received.command in {pdu.ENQUIRE_LINK, pdu.UNBIND}:
                    pdu.answer(writer, received)
                    if received.command == pdu.UNBIND:
                        return
                else:
                    nack = received._replace(command=pdu.GENERIC_NACK)
                    pdu.answer(writer, nack, status=_INVALID_COMMAND)

    def _enquire(self) -> None:
        if self.is_open:
            self._write(pdu.ENQUIRE_LINK)

    def _take_answer(self, received: Pdu) -> None:
        waiting, message_id = self._answers.pop(received.sequence, (None, ""))
        if waiting is not None and not waiting.done():
            waiting.set_result(received)
        elif message_id:
            self._deliveries.take_late_answer(message_id, received)
