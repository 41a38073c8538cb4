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
GSM7, UCS2 = 0, 8
"""The data_coding of each alphabet."""
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


async def read(stream: asyncio.StreamReader) -> Pdu:
    """Return the next PDU. Raises EOFError at the end, and ValueError for what is not SMPP."""
    length, command, status, sequence = _HEADER.unpack(await stream.readexactly(_HEADER.size))
    if not _HEADER.size <= length <= _MAX_LENGTH:
        raise ValueError
    return Pdu(command, status, sequence, await stream.readexactly(length - _HEADER.size))


def answer(writer: asyncio.StreamWriter, request: Pdu, body: bytes = b"", *, status: int = 0) -> None:
    """Answer a request of the provider on its connection; where that is lost, it needs no answer."""
    if not writer.is_closing():
        writer.write(encode(request.command | RESPONSE, request.sequence, body, status=status))


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
    _, rest = body.split(b"\0", 1)
    source_ton, (source, rest) = rest[0], rest[2:].split(b"\0", 1)
    _, rest = rest[2:].split(b"\0", 1)
    esm_class, (_, _, rest) = rest[0], rest[3:].split(b"\0", 2)
    data_coding, end = rest[2], 5 + rest[4]
    text, rest = rest[5:end], rest[end:]
    parameters: dict[int, bytes] = {}
    while len(rest) >= _PARAMETER.size:
        tag, length = _PARAMETER.unpack_from(rest)
        end = _PARAMETER.size + length
        parameters[tag], rest = rest[_PARAMETER.size : end], rest[end:]
    text = text or parameters.get(MESSAGE_PAYLOAD, b"")
    if esm_class & UDHI and text:
        text = text[text[0] + 1 :]
    return Delivery(source_ton, source.decode("ascii"), esm_class, data_coding, text, parameters)
