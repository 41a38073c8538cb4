"""The ways to read bytes: plain, and with each escape and encoding decoded that a program may have put on a text."""

import base64
import binascii
import html
import quopri
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

_NOISE = re.compile(r"[\W_]+")
BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-](?:[A-Za-z0-9+/_=-]|[\r\n]+(?=[A-Za-z0-9+/_=-])){10,}")
_BASE32 = re.compile(rb"(?:[A-Z2-7][\r\n]{0,2}){7,}|(?:[a-z2-7][\r\n]{0,2}){7,}")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}[ :]?){6,}")
_ESCAPE = re.compile(rb"[\\%]+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")

VIEWS = (
    *("plain", "URL-encoded", "quoted-printable", "escaped", "escaped bytes", "HTML"),
    *("hexadecimal", "UTF-16 in hexadecimal", "UTF-16", "base32", "base64"),
)
"""The names of the views. In each of them case, accents, spaces and punctuation are ignored, and texts are looked for
backwards too."""


def letters(text: str) -> str:
    """Return the letters and digits of a text, in lower case, without accents."""
    return _NOISE.sub("", unicodedata.normalize("NFKD", text).casefold())


def views(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what the content is in each view, with the view's name."""
    yield "plain", content
    if b"%" in content:
        yield "URL-encoded", unquote_to_bytes(content)
    if b"=" in content:
        yield "quoted-printable", quopri.decodestring(content)
    if b"\\" in content:
        yield "escaped", _ESCAPE.sub(lambda match: _character(match).encode("utf-8", "replace"), content)
        yield (
            "escaped bytes",
            _ESCAPE.sub(lambda match: _character(match).encode("latin-1", "replace"), content),
        )
    if b"&" in content:
        yield "HTML", html.unescape(content.decode("latin-1")).encode("utf-8", "replace")
    # All runs together, so that one search is enough.
    pieces = b"\n".join(map(_from_hex, _HEX.findall(content)))
    yield "hexadecimal", pieces
    yield "UTF-16 in hexadecimal", pieces.replace(b"\0", b"").decode("latin-1").encode()
    if b"\0" in content:
        yield "UTF-16", content.replace(b"\0", b"").decode("latin-1").encode()
    # Any word may be base32, and a log repeats its words.
    words = set(_BASE32.findall(content))
    for shift in range(8):
        yield "base32", b"\n".join(_from_base32(run, shift) for run in words)
    runs = set(BASE64_RUN.findall(content))
    for shift in range(4):
        yield "base64", b"\n".join(from_base64(run, shift) for run in runs)


def from_base64(run: bytes, shift: int) -> bytes:
    """Decode a run of base64 from its character ``shift`` on."""
    run = re.sub(rb"[\r\n=]", b"", run)[shift:].translate(bytes.maketrans(b"-_", b"+/"))
    return base64.b64decode(run + b"A" * (-len(run) % 4))


def _character(match: re.Match[bytes]) -> str:
    return chr(int(match[1] or match[2], 16))


def _from_hex(run: bytes) -> bytes:
    digits = re.sub(rb"[ :]", b"", run)
    return (
        binascii.unhexlify(digits[: len(digits) // 2 * 2])
        + b"\n"
        + binascii.unhexlify(digits[1 : 1 + (len(digits) - 1) // 2 * 2])
    )


def _from_base32(run: bytes, shift: int) -> bytes:
    run = re.sub(rb"[\r\n]", b"", run)[shift:].upper()
    return base64.b32decode(run + b"A" * (-len(run) % 8))
