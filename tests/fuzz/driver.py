"""Throws requests at a gateway over raw sockets, and judges what comes back."""

import json
import re
import socket
from collections import Counter

from fuzz.oracle import Expected
from fuzz.requests import Framed, Requests

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[!-9;-~]+: [^\r\n]*\r\n)*)\r\n")
_LENGTH = re.compile(rb"^content-length: (\d+)\r$", re.MULTILINE)
_JSON = re.compile(rb"^content-type: application/json\r$", re.MULTILINE)


class Answer:
    """One answer, with its body."""

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body

    @property
    def code(self) -> int | None:
        """The error_code of an answer such as the contract wants; None for any other."""
        if self.status != 200 or not _JSON.search(self.head):
            return None
        try:
            said = json.loads(self.body)
        except ValueError:
            return None
        keys = {"error_code", "error_message" if said["error_code"] else "ext_message_id"}
        return said["error_code"] if said.keys() == keys else None


def take_answer(data: bytearray) -> Answer | None:
    """Take the first answer out of what came; None: it is not there in full. Raises ValueError: it is none."""
    while True:
        if not (match := _HEAD.match(data)):
            if b"\r\n\r\n" in data:
                raise ValueError(f"not an answer: {bytes(data[:200])!r}")
            return None
        status, head = int(match[1]), match[2]
        if status != 100:
            break
        del data[: match.end()]
    length = _LENGTH.search(head)
    if length is None:
        raise ValueError(f"an answer without its length: {bytes(data[:200])!r}")
    end = match.end() + int(length[1])
    if len(data) < end:
        return None
    answer = Answer(status, head, bytes(data[match.end() : end]))
    del data[:end]
    return answer


class Line:
    """A kept connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._came = bytearray()

    def send(self, data: bytes) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=60)
            self._came.clear()
        self._socket.sendall(data)

    def read(self) -> Answer | None:
        """The next answer; None: the connection ended instead."""
        while (answer := take_answer(self._came)) is None:
            if self._socket is None:
                return None
            try:
                chunk = self._socket.recv(65536)
            except ConnectionError:
                chunk = b""
            if not chunk:
                self.close()
                return None
            self._came += chunk
        return answer

    def rest(self) -> bytearray:
        """Everything until the other side ends it."""
        self._socket.shutdown(socket.SHUT_WR)
        came = self._came
        try:
            while chunk := self._socket.recv(65536):
                came += chunk
        except ConnectionError:
            pass
        self.close()
        return came

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Bench:
    """Sends from one seed until told to stop; ``violations`` holds what must never have come."""

    def __init__(self, address: tuple[str, int], seed: int, lines: int = 16) -> None:
        self.sent = 0
        self.answers: Counter[str] = Counter()
        self.violations: list[str] = []
        self._address = address
        self._requests = Requests(seed)
        self._lines = [Line(address) for _ in range(lines)]

    def run(self, count: int) -> None:
        """Send at least ``count`` more requests."""
        end = self.sent + count
        turn = 0
        while self.sent < end:
            self._framed(turn)
            if turn % 4 == 0:
                self._raw()
            turn += 1

    def close(self) -> None:
        for line in self._lines:
            line.close()

    def _framed(self, turn: int) -> None:
        """A few requests on every kept connection, one behind the other without waiting."""
        flights = []
        for number, line in enumerate(self._lines):
            wants_webhook = (turn + number) % 20 == 0
            flight: list[Framed] = []
            while len(flight) < 3 and not (flight and flight[-1].closes):
                flight.append(self._requests.webhook() if wants_webhook else self._requests.framed())
            line.send(b"".join(request.data for request in flight))
            flights.append((line, flight, wants_webhook))
        for line, flight, is_webhook in flights:
            for request in flight:
                self._judge(request.data, line.read(), contract=not is_webhook)
            if flight[-1].closes:
                line.close()

    def _raw(self) -> None:
        data = self._requests.raw()
        line = Line(self._address)
        try:
            line.send(data)
            came = line.rest()
        except ConnectionError:
            # It was refused while it was still being sent; what was said about it is lost on the way.
            came = bytearray()
        expected = Expected(data).owed
        for is_ours in expected or [False]:
            answer = take_answer(came)
            self._judge(data, answer, contract=is_ours, owed=bool(expected))
            if answer is None:
                break

    def _judge(self, data: bytes, answer: Answer | None, *, contract: bool, owed: bool = True) -> None:
        self.sent += 1
        if answer is None:
            self.answers["none"] += 1
            if owed:
                self._violation(data, "no answer")
            return
        shown = f"{answer.status}" if answer.code is None else f"code {answer.code}"
        self.answers[shown] += 1
        # 501: a transfer coding that is not undone, which is no fault.
        failed = answer.status >= 500 and answer.status != 501
        if failed or answer.code == 99 or (contract and answer.code is None):
            self._violation(data, f"{answer.status} {answer.body[:200]!r}")

    def _violation(self, data: bytes, what: str) -> None:
        if len(self.violations) < 20:
            self.violations.append(f"{what} to {data[:2000]!r}")
