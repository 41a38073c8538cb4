"""A connection of a client, as the message centre has it."""

import asyncio

from gatepost_smpp.testing import octets
from gatepost_smpp.testing.octets import Packet


class Connection:
    """One connection, bound or not."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.is_bound = False
        self.submitted = self.unanswered = 0
        """The submit_sm on it, and those without an answer."""
        self.ended = asyncio.Event()
        self._sequence = 0
        self._waiting: dict[int, asyncio.Future[Packet]] = {}

    async def request(self, command: int, body: bytes) -> Packet:
        """Send a request and return its answer; raise ConnectionError where the connection ends before."""
        self._sequence += 1
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._waiting[self._sequence] = answer
        self.writer.write(octets.packet(command, 0, self._sequence, body))
        return await answer

    def take_answer(self, packet: Packet) -> None:
        """Give an answer to the request that waits for it; raise KeyError where none does."""
        self._waiting.pop(packet.sequence).set_result(packet)

    def end(self) -> None:
        """Close the connection; no answer comes any more."""
        self.ended.set()
        self.writer.transport.abort()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError())
                # Where nobody waits for it any more, asyncio must not log it.
                answer.exception()
