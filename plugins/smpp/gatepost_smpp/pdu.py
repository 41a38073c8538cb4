"""The PDUs of SMPP 3.4 that the plugin needs, as bytes."""

import asyncio
import struct
from collections.abc import Mapping
from typing import NamedTuple

SUBMIT_SM, DELIVER_SM, UNBIND, BIND_TRANSCEIVER, ENQUIRE_LINK = 0x04, 0x05, 0x06, 0x09, 0x15
RESPONSE = GENERIC_NACK = 0x80000000
RECEIPTED_MESSAGE_ID, NETWORK_ERROR_CODE, MESSAGE_PAYLOAD, MESSAGE_STATE = 0x001E, 0x0423, 0x0424, 0x0427
UDHI = 0x40
"""The bit of esm_class that says that the text begins with a header."""
_MAX_LENGTH = 128 * 1024
_HEADER, _PARAMETER = struct.Struct(">IIII"), struct.Struct(">HH")


class Pdu(NamedTuple):
    """One PDU without its length."""

    command: int
    status: int
    sequence: int
    body: bytes


def encode(command: int, sequence: int, body: bytes = b"", *, status: int = 0) -> bytes:
    """Return a PDU as bytes."""
    return _HEADER.pack(_HEADER.size + len(body), command, status, sequence) + body


def c_string(text: str) -> bytes:
    """Return a C-Octet String."""
    return text.encode("ascii") + b"\0"


def parameter(tag: int, value: bytes) -> bytes:
    """Return an optional parameter."""
    return _PARAMETER.pack(tag, len(value)) + value


class Reader:
    """The PDUs that come on a connection."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream, self._buffer = stream, bytearray()

    async def next(self) -> Pdu:
        """Return the next PDU; a cancelled call loses nothing. Raises EOFError, and ValueError for what is not SMPP."""
        while True:
            if len(self._buffer) >= _HEADER.size:
                length, command, status, sequence = _HEADER.unpack_from(self._buffer)
                if not _HEADER.size <= length <= _MAX_LENGTH:
                    raise ValueError
                if len(self._buffer) >= length:
                    body = bytes(self._buffer[_HEADER.size : length])
                    del self._buffer[:length]
                    return Pdu(command, status, sequence, body)
            if not (data := await self._stream.read(_MAX_LENGTH)):
                raise EOFError
            self._buffer += data


class Delivery(NamedTuple):
    """What counts of a deliver_sm; ``text`` is without its header."""

    source_ton: int
    source: str
    esm_class: int
    data_coding: int
    text: bytes
    parameters: Mapping[int, bytes]


def read_delivery(body: bytes) -> Delivery:
    """Return what a deliver_sm says; raise ValueError or IndexError where it is none."""
    source = body.index(0) + 3
    source_end = body.index(0, source)
    esm_class = body.index(0, source_end + 3) + 1
    data_coding = body.index(0, body.index(0, esm_class + 3) + 1) + 3
    end = data_coding + 3 + body[data_coding + 2]
    text = body[data_coding + 3 : end]
    parameters: dict[int, bytes] = {}
    while end + _PARAMETER.size <= len(body):
        tag, length = _PARAMETER.unpack_from(body, end)
        end += _PARAMETER.size + length
        parameters[tag] = body[end - length : end]
    text = text or parameters.get(MESSAGE_PAYLOAD, b"")
    if body[esm_class] & UDHI and text:
        text = text[text[0] + 1 :]
    sender = body[source:source_end].decode("ascii")
    return Delivery(body[source - 2], sender, body[esm_class], body[data_coding], text, parameters)
