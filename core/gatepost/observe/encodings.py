"""The decoder for escapes and encodings that any program may have put into a text.

Each function takes time that is linear in the length of the text, and hardly any where nothing is encoded.
"""

import base64
import html
import re
from collections.abc import Collection

# Each pattern begins with a fixed character, so that the search is quick. Lengths are bounded, so that a long row of
# backslashes is not scanned again from each of them.
_HEX_BYTE = r"x[0-9A-Fa-f]{2}"
_CODE_POINT = r"u[0-9A-Fa-f]{4}"
_BACKSLASHES = r"\\\\{0,7}"
_C_ESCAPES = re.compile(
    rf"{_BACKSLASHES}(?:{_HEX_BYTE}(?:{_BACKSLASHES}{_HEX_BYTE})*|{_CODE_POINT}(?:{_BACKSLASHES}{_CODE_POINT})*)"
)
_URL_ESCAPES = re.compile(r"%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_BYTES = re.compile(r"[x%]([0-9A-Fa-f]{2})")
_POINTS = re.compile(r"u([0-9A-Fa-f]{4})")
# Runs that encode four letters or more. One pattern each, so that the search quickly skips what can't begin a run.
_HEX = re.compile(r"[0-9A-Fa-f]{16,}")
_BASE32 = re.compile(r"[A-Z2-7]{7,}")


def decode_escapes(text: str) -> str:
    """Decode the escapes of C, Python, JSON, URLs and HTML; return the same object where there are none."""
    for first, pattern in (("\\", _C_ESCAPES), ("%", _URL_ESCAPES), ("&", _ENTITY)):
        if first in text:
            text = pattern.sub(_decode_escape, text)
    return text


def decode_runs(text: str) -> dict[str, str]:
    """Return the runs of hexadecimal UTF-16 and of base32 in ``text``, each with the text that it encodes."""
    runs = {run: _decode_hex(run) for run in _HEX.findall(text)}
    runs |= {run: _decode_base32(run) for run in _BASE32.findall(text) if not run.isdigit()}
    return {run: meaning for run, meaning in runs.items() if meaning}


def replace_runs(text: str, runs: Collection[str], replacement: str) -> str:
    """Replace these runs in ``text``."""
    for pattern in (_HEX, _BASE32):
        text = pattern.sub(lambda match: replacement if match[0] in runs else match[0], text)
    return text


def _decode_escape(match: re.Match[str]) -> str:
    escapes = match[0]
    if escapes[0] == "&":
        return html.unescape(escapes)
    if points := _POINTS.findall(escapes):
        return _decode_utf16(bytes.fromhex("".join(points)), "be")
    raw = bytes.fromhex("".join(_BYTES.findall(escapes)))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _decode_hex(run: str) -> str:
    """Decode a run of hexadecimal digits as UTF-16; empty for what is most likely something else, such as a hash."""
    raw = bytes.fromhex(run[: len(run) // 2 * 2])
    # In a text of one script every second byte is the same, or one of two where the text has spaces.
    if len(set(raw[::2])) > 2 and len(set(raw[1::2])) > 2:
        return ""
    return f"{_decode_utf16(raw, 'le')} {_decode_utf16(raw, 'be')}"


def _decode_base32(run: str) -> str:
    """Decode a run of base32; empty when the result is not a text, as for a word in capitals."""
    raw = base64.b32decode(run + "A" * (-len(run) % 8))[: len(run) * 5 // 8]
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        # The run may end in the middle of a character.
        return raw[: error.start].decode() if error.reason == "unexpected end of data" else ""


def _decode_utf16(raw: bytes, byte_order: str) -> str:
    return raw.decode(f"utf-16-{byte_order}", "replace")
