"""The fuzzer: sends requests to a gateway over raw sockets and checks every answer."""

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
    """One HTTP answer with its body."""

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body

    @property
    def code(self) -> int | None:
        """Return the error_code of an answer in the form that the contract requires; None for any other answer."""
        if self.status != 200 or not _JSON.search(self.head):
            return None
        try:
            fields = json.loads(self.body)
        except ValueError:
            return None
        keys = {"error_code", "error_message" if fields["error_code"] else "ext_message_id"}
        return fields["error_code"] if fields.keys() == keys else None


def take_answer(data: bytearray) -> Answer | None:
    """Remove the first answer from the received bytes and return it; None if it is incomplete.

    Raises ValueError if the bytes are not an HTTP answer with a Content-Length.
    """
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


class Connection:
    """A keep-alive connection; opened at the first ``send`` and again after it was closed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._received = bytearray()

    def send(self, data: bytes) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=60)
            self._received.clear()
        self._socket.sendall(data)

    def receive(self) -> Answer | None:
        """Return the next answer; None if the connection was closed instead."""
        while (answer := take_answer(self._received)) is None:
            if self._socket is None:
                return None
            try:
                chunk = self._socket.recv(65536)
            except ConnectionError:
                chunk = b""
            if not chunk:
                self.close()
                return None
            self._received += chunk
        return answer

    def receive_all(self) -> bytearray:
        """Send no more, and return all bytes that come until the server closes the connection."""
        self._socket.shutdown(socket.SHUT_WR)
        received = self._received
        try:
            while chunk := self._socket.recv(65536):
                received += chunk
        except ConnectionError:
            pass
        self.close()
        return received

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Fuzzer:
    """Sends the requests of one seed; ``violations`` lists the answers that must never come."""

    def __init__(self, address: tuple[str, int], seed: int, connections: int = 16) -> None:
        self.sent = 0
        self.answers: Counter[str] = Counter()
        self.violations: list[str] = []
        self._address = address
        self._requests = Requests(seed)
        self._connections = [Connection(address) for _ in range(connections)]

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
        for connection in self._connections:
            connection.close()

    def _framed(self, turn: int) -> None:
        """Send three requests on every keep-alive connection without waiting, then check the answers."""
        sent_batches = []
        for number, connection in enumerate(self._connections):
            is_webhook = (turn + number) % 20 == 0
            batch: list[Framed] = []
            while len(batch) < 3 and not (batch and batch[-1].closes):
                batch.append(self._requests.webhook() if is_webhook else self._requests.framed())
            connection.send(b"".join(request.data for request in batch))
            sent_batches.append((connection, batch, is_webhook))
        for connection, batch, is_webhook in sent_batches:
            for request in batch:
                self._check(request.data, connection.receive(), contract=not is_webhook)
            if batch[-1].closes:
                connection.close()

    def _raw(self) -> None:
        data = self._requests.raw()
        connection = Connection(self._address)
        try:
            connection.send(data)
            received = connection.receive_all()
        except ConnectionError:
            # The server refused the request while it was still being sent, and the answer was lost.
            received = bytearray()
        expected = Expected(data).answers
        for on_contract in expected or [False]:
            answer = take_answer(received)
            self._check(data, answer, contract=on_contract, required=bool(expected))
            if answer is None:
                break

    def _check(self, data: bytes, answer: Answer | None, *, contract: bool, required: bool = True) -> None:
        self.sent += 1
        if answer is None:
            self.answers["none"] += 1
            if required:
                self._violation(data, "no answer")
            return
        key = f"{answer.status}" if answer.code is None else f"code {answer.code}"
        self.answers[key] += 1
        # 501 is correct: the server does not support the request's transfer coding.
        failed = answer.status >= 500 and answer.status != 501
        if failed or answer.code == 99 or (contract and answer.code is None):
            self._violation(data, f"{answer.status} {answer.body[:200]!r}")

    def _violation(self, data: bytes, problem: str) -> None:
        if len(self.violations) < 20:
            self.violations.append(f"{problem} to {data[:2000]!r}")
