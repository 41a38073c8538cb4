"""The emulated message centre: binds, answers, receipts, and every failure that the conformance kit asks for."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from gatepost.model import Channel, Status
from gatepost.testing.demo_provider import Arrival
from gatepost.testing.features import FailureMode, MessageFeature
from gatepost.testing.kit_emulator import KitEmulator
from gatepost.testing.received import ReceivedMessage
from gatepost_smpp.testing import octets
from gatepost_smpp.testing.connections import Connection
from gatepost_smpp.testing.deliveries import delivery, text_of
from gatepost_smpp.testing.octets import Fields, Packet, WrongLength
from gatepost_smpp.testing.submissions import Refused, Submission, messages_of, read_submission

_SUBMIT, _DELIVER, _UNBIND, _BIND, _ENQUIRE = 4, 5, 6, 9, 21
_RESPONSE = 0x8000_0000
_DRIP = 0.25
"""Seconds between two bytes of an answer that comes byte by byte."""
_STATUSES = {
    FailureMode.REFUSE: 0x0B,
    FailureMode.THROTTLE: 0x58,
    FailureMode.OUTAGE: 0x08,
    FailureMode.DENY: 0x04,
}
_STATS = {Status.DELIVERED: "DELIVRD", Status.FAILED: "UNDELIV", Status.REJECTED: "REJECTD"}
_OK, _WRONG_STATE, _ALREADY_BOUND, _WRONG_PASSWORD, _WRONG_COMMAND = 0, 4, 5, 0x0E, 3


class SmppEmulator(KitEmulator):
    """A message centre for one account. Enter it to start the server; leave it to end it with its connections.

    Large, because the tests, the conformance kit and the demo all work with it.
    """

    failure_modes = frozenset(FailureMode) - {FailureMode.RETRY_AFTER, FailureMode.REDIRECT}
    message_features = frozenset({MessageFeature.SENDER, MessageFeature.LIFETIME, MessageFeature.CONNECTIONS})
    channels: ClassVar[Sequence[Channel]] = (Channel.SMS,)
    reference_tag = 0x1500

    def __init__(self, *, max_binds: int = 64) -> None:
        self.system_id, self.password = "gatepost", secrets.token_hex(4)
        self.port = 0
        self.webhook_url = ""
        """Not used: what is reported comes on the bind."""
        self.max_binds = max_binds
        self.attempts = 0
        """The submit_sm so far, whatever became of them."""
        self.connections = 0
        """The connections so far."""
        self.submissions: list[Submission] = []
        """What was taken, in order."""
        self.planned: deque[int] = deque()
        """The statuses of the next answers to a submit_sm; 0 takes it."""
        self.bind_status = 0
        """The status of the answers to a bind."""
        self.ids: Callable[[int], tuple[str, str]] = lambda number: (f"gp{number:08x}", f"gp{number:08x}")
        """The id of a message in its answer and in its receipt."""
        self.answering = asyncio.Event()
        """While it is not set, no submit_sm is answered."""
        self.answering.set()
        self.delay = 0.0
        """Seconds until a submit_sm is answered."""
        self.enquiries = self.unbinds = self.max_unanswered = 0
        """The requests of these kinds, and the largest number of submit_sm without an answer on one bind."""
        self.open: list[Connection] = []
        self.served: list[Connection] = []
        """Every connection so far."""
        self._failure: FailureMode | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's table that lead to this message centre."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "tls": False,
            "system_id": self.system_id,
            "password": self.password,
            "default_sender": "Amazing",
            "reference_tag": self.reference_tag,
        }

    @classmethod
    def table_for_port(cls, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to another port of this machine."""
        return {"port": port}

    @classmethod
    def table_for_tls_port(cls, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to a TLS server on this machine."""
        return {"port": port, "tls": True}

    def simulate(self, failure: FailureMode | None) -> None:
        """Fail in this way from now on; None: work as usual."""
        self._failure = failure

    def received(self) -> Sequence[ReceivedMessage]:
        """Return every message that was taken whole, in order."""
        return messages_of(self.submissions)

    # For the demo.

    def arrivals(self) -> list[Arrival]:
        """Return what lies on handsets."""
        return [Arrival(id=one.id, recipient=one.recipients[0], text=one.text) for one in self.received()]

    async def report_status(self, message_id: str, status: Status) -> None:
        """Send the receipt that means this status, or the text of the user who opts out."""
        last = [one for one in self.submissions if one.reference == message_id][-1]
        if status is Status.UNSUBSCRIBED:
            await self.deliver(text_of(last.destination, "STOP"))
        elif stat := _STATS.get(status):
            await self.deliver(self.receipt(last, stat))

    # What it delivers.

    def receipt(
        self, about: Submission, stat: str = "DELIVRD", *, error: str = "000", options: bytes = b""
    ) -> bytes:
        """Return the body of a deliver_sm with a receipt in the form of appendix B."""
        number = self.ids(about.number)[1]
        dates = "submit date:2611280101 done date:2611280102"
        text = f"id:{number} sub:001 dlvrd:001 {dates} stat:{stat} err:{error} text:Hello"
        return delivery(about.destination, text.encode(), esm_class=4, options=options)

    async def deliver(self, body: bytes, connection: Connection | None = None) -> int:
        """Deliver on a bind, the first one by default; return the status of the answer.

        Raises ConnectionError where the connection ends before the answer.
        """
        answer = await self.request(_DELIVER, body, connection)
        if answer.body != b"\0":
            raise AssertionError("the message_id of a deliver_sm_resp must be empty")
        return answer.status

    async def request(self, command: int, body: bytes = b"", connection: Connection | None = None) -> Packet:
        """Send a request on a bind and return its answer."""
        bound = connection or next(one for one in self.open if one.is_bound)
        return await bound.request(command, body)

    async def drop_connections(self) -> None:
        """Close every connection without a word."""
        for connection in self.open:
            connection.writer.transport.abort()
        await asyncio.gather(*(connection.ended.wait() for connection in list(self.open)))

    # The server.

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(writer)
        self.open.append(connection)
        self.served.append(connection)
        self.connections += 1
        try:
            while await self._answer(connection, await octets.receive(reader)):
                pass
        except (OSError, EOFError, WrongLength, KeyError, asyncio.CancelledError):
            # The client has closed the connection, sends no SMPP or an answer to nothing, or the emulator ends.
            pass
        finally:
            self._tasks.discard(task)
            self.open.remove(connection)
            connection.end()

    async def _answer(self, connection: Connection, packet: Packet) -> bool:
        """Answer a PDU; return whether the connection stays open."""
        if packet.command & _RESPONSE:
            connection.take_answer(packet)
            return True
        if packet.status or not 1 <= packet.sequence <= 0x7FFF_FFFF:
            raise WrongLength
        status, body = _OK, b""
        if packet.command == _BIND:
            status, body = self._bind(connection, packet.body), octets.text("EMULATOR")
        elif packet.command == _UNBIND:
            self.unbinds += 1
            connection.writer.write(octets.packet(_UNBIND | _RESPONSE, 0, packet.sequence))
            return False
        elif not connection.is_bound:
            status = _WRONG_STATE
        elif packet.command == _ENQUIRE:
            self.enquiries += 1
            return await self._fail_or(connection, packet, lambda: b"")
        elif packet.command == _SUBMIT:
            self.attempts += 1
            connection.submitted += 1
            connection.unanswered += 1
            self.max_unanswered = max(self.max_unanswered, connection.unanswered)
            return await self._fail_or(connection, packet, lambda: self._submit(packet.body))
        else:
            packet, status = packet._replace(command=0), _WRONG_COMMAND
        connection.writer.write(
            octets.packet(packet.command | _RESPONSE, status, packet.sequence, b"" if status else body)
        )
        return True

    def _bind(self, connection: Connection, body: bytes) -> int:
        fields = Fields(body)
        given = fields.text(16), fields.text(9)
        fields.text(13)
        version, *_ = fields.number(), fields.number(), fields.number(), fields.text(41)
        if self.bind_status:
            return self.bind_status
        if self._failure is FailureMode.OUTAGE:
            return _STATUSES[self._failure]
        if given != (self.system_id, self.password) or self._failure is FailureMode.DENY:
            return _WRONG_PASSWORD
        if connection.is_bound or sum(one.is_bound for one in self.open) >= self.max_binds:
            return _ALREADY_BOUND
        if version != 0x34 or not fields.is_empty:
            return _WRONG_COMMAND
        connection.is_bound = True
        return _OK

    def _submit(self, body: bytes) -> bytes:
        if self.planned and (status := self.planned.popleft()):
            raise Refused(status)
        submission = read_submission(body, self.reference_tag, len(self.submissions) + 1)
        self.submissions.append(submission)
        return octets.text(self.ids(submission.number)[0])

    async def _fail_or(self, connection: Connection, packet: Packet, work: Callable[[], bytes]) -> bool:
        """Answer a request with the result of ``work``, or fail; return whether the connection stays open."""
        failure = self._failure
        if failure in {FailureMode.HANG, FailureMode.DROP}:
            return failure is FailureMode.HANG
        status, body = _STATUSES.get(failure, _OK) if failure else _OK, b""
        try:
            body = b"" if status else work()
        except Refused as refused:
            status = refused.status
        if failure is FailureMode.LOSE:
            return False
        command = packet.command | _RESPONSE
        if packet.command == _ENQUIRE and status:
            command = _RESPONSE
        answer = octets.packet(command, status, packet.sequence, body)
        if failure is FailureMode.NONSENSE:
            answer = b"HTTP/1.1 200 OK\r\n\r\n"
        if failure is FailureMode.DRIP:
            for byte in answer:
                connection.writer.write(bytes([byte]))
                await asyncio.sleep(_DRIP)
            return True
        if packet.command == _SUBMIT:
            self._answer_later(connection, answer)
        else:
            connection.writer.write(answer)
        return True

    def _answer_later(self, connection: Connection, answer: bytes) -> None:
        """Answer a submit_sm now, or once it may be answered."""
        if self.answering.is_set() and not self.delay:
            connection.unanswered -= 1
            connection.writer.write(answer)
            return

        async def write() -> None:
            await self.answering.wait()
            await asyncio.sleep(self.delay)
            connection.unanswered -= 1
            connection.writer.write(answer)

        task = asyncio.create_task(write())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
