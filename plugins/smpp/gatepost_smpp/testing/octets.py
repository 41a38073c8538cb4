"""PDUs as a message centre reads and writes them.

Nothing of the plugin's own code is used here: a mistake there must not be made twice.
"""

import asyncio
from typing import NamedTuple


class WrongLength(ValueError):
    """A PDU ends before its fields do, or a field is longer than SMPP 3.4 allows."""


class Packet(NamedTuple):
    """One PDU."""

    command: int
    status: int
    sequence: int
    body: bytes


async def receive(stream: asyncio.StreamReader) -> Packet:
    """Return the next PDU. Raises IncompleteReadError at the end, and WrongLength for what can't be one."""
    length = int.from_bytes(await stream.readexactly(4))
    if not 16 <= length <= 70_000:
        raise WrongLength
    rest = await stream.readexactly(length - 4)
    command, status, sequence = (int.from_bytes(rest[at : at + 4]) for at in (0, 4, 8))
    return Packet(command, status, sequence, rest[12:])


def packet(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    """Return a PDU as bytes."""
    return b"".join(number.to_bytes(4) for number in (16 + len(body), command, status, sequence)) + body


def text(value: str) -> bytes:
    """Return a C-Octet String."""
    return value.encode("ascii") + b"\0"


def option(tag: int, value: bytes) -> bytes:
    """Return an optional parameter."""
    return tag.to_bytes(2) + len(value).to_bytes(2) + value


class Fields:
    """The fields of a body, which are taken one after the other."""

    def __init__(self, body: bytes) -> None:
        self._rest = body

    @property
    def is_empty(self) -> bool:
        """Whether everything was taken."""
        return not self._rest

    def octets(self, count: int) -> bytes:
        """Take so many octets."""
        taken, self._rest = self._rest[:count], self._rest[count:]
        if len(taken) < count:
            raise WrongLength
        return taken

    def number(self, size: int = 1) -> int:
        """Take an integer of so many octets."""
        return int.from_bytes(self.octets(size))

    def text(self, longest: int) -> str:
        """Take a C-Octet String of at most so many octets, its zero included."""
        end = self._rest.find(b"\0")
        if not 0 <= end < longest:
            raise WrongLength
        try:
            return self.octets(end + 1)[:-1].decode("ascii")
        except UnicodeDecodeError:
            raise WrongLength from None

    def options(self) -> dict[int, bytes]:
        """Take the rest as optional parameters."""
        found: dict[int, bytes] = {}
        while not self.is_empty:
            tag = self.number(2)
            found[tag] = self.octets(self.number(2))
        return found
