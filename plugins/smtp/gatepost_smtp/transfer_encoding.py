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
_UNUSABLE = "the body holds a NUL character or a lone surrogate"
# Each begins with one certain character, because such a pattern is found ten times as fast as a begin of lines.
_CODED_BLANK_AT_END = re.compile(rb"=(?:20|09)(?=\r\n)")
_RISKY_STARTS = (b".", b"From ")
_RISKY_LINE = re.compile(rb"\n(?:\.|From )[^\r\n]*")
"""A line with a risky start, and the end of the line before it."""


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
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("\n", "\r\n")
    if "\x00" in text:
        raise Rejected(_UNUSABLE)
    if text.isascii():
        return Encoded("quoted-printable", _quoted_printable(text.encode()))
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise Rejected(_UNUSABLE) from None
    if len(raw.translate(None, _ASCII)) > len(raw) * _MAX_CODED_SHARE:
        return Encoded("base64", _base64(raw))
    return Encoded("quoted-printable", _quoted_printable(raw))


def _base64(raw: bytes) -> bytes:
    flat = binascii.b2a_base64(raw, newline=False)
    lines = [flat[start : start + _MAX_LINE_LENGTH] for start in range(0, len(flat), _MAX_LINE_LENGTH)]
    return b"\r\n".join(lines) + b"\r\n"


def _quoted_printable(raw: bytes) -> bytes:
    # The function takes the first line end for the one of all its soft breaks.
    encoded = binascii.b2a_qp(raw + b"\r\n", quotetabs=False, istext=True, header=False)
    encoded = _CODED_BLANK_AT_END.sub(_keep_short, encoded)
    return _RISKY_LINE.sub(_escape_first, b"\n" + encoded)[1:]


def _keep_short(match: re.Match[bytes]) -> bytes:
    """Return a coded blank, on a line of its own where the standard library makes a line too long with it."""
    line_start = match.string.rfind(b"\n", 0, match.start()) + 1
    return match[0] if match.end() - line_start <= _MAX_LINE_LENGTH else b"=\r\n" + match[0]


def _escape_first(match: re.Match[bytes]) -> bytes:
    """Return a line whose first character is coded, as two lines if it is too long then."""
    line = b"\n" + _coded_first(match[0][1:])
    if len(line) <= _MAX_LINE_LENGTH + 1:
        return line
    cut = _MAX_LINE_LENGTH - 3
    while b"=" in line[cut - 2 : cut]:
        cut -= 1  # not inside a coded character
    rest = line[cut:]
    return line[:cut] + b"=\r\n" + (_coded_first(rest) if rest.startswith(_RISKY_STARTS) else rest)


def _coded_first(line: bytes) -> bytes:
    return b"=%02X" % line[0] + line[1:]
