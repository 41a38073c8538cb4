"""A text as the content of a mail's part: quoted-printable, or base64 where that is shorter. Pure functions.

Both are ASCII with lines of at most 76 characters. No line begins with a dot, which some servers take for the end of
a mail, or with "From ", which some mailboxes change: then a signature would be invalid.
"""

import binascii
import re
from typing import NamedTuple

from gatepost.errors import Rejected

_MAX_LINE_LENGTH = 76
_ASCII = bytes(range(128))
_MAX_CODED_SHARE = 1 / 6
"""The share of bytes beyond ASCII above which base64 is shorter: each of them is three characters otherwise."""
_LONG_END = re.compile(rb"^([^\r\n]{74,75})(=20|=09)(?=\r\n)", re.MULTILINE)
"""A line that the standard library makes too long by coding the blank at its end."""
_RISKY_LINE = re.compile(rb"^(?:\.|From )[^\r\n]*", re.MULTILINE)


class Encoded(NamedTuple):
    """The content of a part."""

    name: str
    """The value of Content-Transfer-Encoding."""
    content: bytes
    """Whole lines."""


def encode_text(text: str) -> Encoded:
    """Encode a text, whose line ends become CRLF (RFC 2045 §6.8); raises Rejected for NUL and lone surrogates.

    The end of the last line is not part of the text if another part follows, and else it is one line end more.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = b"\x00"
    if b"\x00" in raw:
        raise Rejected("the body holds a NUL character or a lone surrogate")
    coded = len(raw.translate(None, _ASCII))
    if coded > len(raw) * _MAX_CODED_SHARE:
        return Encoded("base64", _base64(raw))
    return Encoded("quoted-printable", _quoted_printable(raw))


def _base64(raw: bytes) -> bytes:
    flat = binascii.b2a_base64(raw, newline=False)
    lines = [flat[start : start + _MAX_LINE_LENGTH] for start in range(0, len(flat), _MAX_LINE_LENGTH)]
    return b"\r\n".join(lines) + b"\r\n"


def _quoted_printable(raw: bytes) -> bytes:
    # The function takes the first line end for the one of all its soft breaks.
    encoded = binascii.b2a_qp(raw + b"\r\n", quotetabs=False, istext=True, header=False)
    return _RISKY_LINE.sub(_escape_first, _LONG_END.sub(rb"\1=\r\n\2", encoded))


def _escape_first(match: re.Match[bytes]) -> bytes:
    """Return a line whose first character is coded, as two lines if it is too long then."""
    line = _coded_first(match[0])
    if len(line) <= _MAX_LINE_LENGTH:
        return line
    cut = _MAX_LINE_LENGTH - 4
    while b"=" in line[cut - 2 : cut]:
        cut -= 1  # not inside a coded character
    rest = line[cut:]
    return line[:cut] + b"=\r\n" + (_coded_first(rest) if _RISKY_LINE.match(rest) else rest)


def _coded_first(line: bytes) -> bytes:
    return b"=%02X" % line[0] + line[1:]
