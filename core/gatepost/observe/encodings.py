"""What stands in a text behind escapes and encodings that any program may have put there.

In time that is linear in the text's length, and in next to none where there is nothing of the kind.
"""

import base64
import html
import re
from collections.abc import Collection

# Each begins with its sign, so that the search passes quickly over all else. Lengths are bounded, so that no row of
# backslashes is looked at again from each of its signs.
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
# Of four letters and more. Each by itself: so the search passes quickly over what can't begin one.
_HEX = re.compile(r"[0-9A-Fa-f]{16,}")
_BASE32 = re.compile(r"[A-Z2-7]{7,}")


def unescaped(text: str) -> str:
    """``text`` with the escapes of C, Python and JSON, of URLs and of HTML undone; itself where it has none."""
    for sign, form in (("\\", _C_ESCAPES), ("%", _URL_ESCAPES), ("&", _ENTITY)):
        if sign in text:
            text = form.sub(_unescaped, text)
    return text


def unpacked(text: str) -> dict[str, str]:
    """What the runs of hexadecimal UTF-16 and of base32 in ``text`` mean, by the run."""
    runs = {run: _utf16_of(run) for run in _HEX.findall(text)}
    runs |= {run: _text_of(run) for run in _BASE32.findall(text) if not run.isdigit()}
    return {run: meaning for run, meaning in runs.items() if meaning}


def without_runs(text: str, runs: Collection[str], instead: str) -> str:
    """``text`` with ``instead`` in the place of these runs."""
    for form in (_HEX, _BASE32):
        text = form.sub(lambda match: instead if match[0] in runs else match[0], text)
    return text


def _unescaped(match: re.Match[str]) -> str:
    escapes = match[0]
    if escapes[0] == "&":
        return html.unescape(escapes)
    if points := _POINTS.findall(escapes):
        return _utf16(bytes.fromhex("".join(points)), "be")
    raw = bytes.fromhex("".join(_BYTES.findall(escapes)))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _utf16_of(run: str) -> str:
    """A run of hexadecimal digits as UTF-16; empty for what is hardly any, such as a hash."""
    raw = bytes.fromhex(run[: len(run) // 2 * 2])
    # A text in one script has the same byte in every second place, or two where it has spaces as well.
    if len(set(raw[::2])) > 2 and len(set(raw[1::2])) > 2:
        return ""
    return f"{_utf16(raw, 'le')} {_utf16(raw, 'be')}"


def _text_of(run: str) -> str:
    """A run of base32; empty for what is no text, such as a word in capitals."""
    raw = base64.b32decode(run + "A" * (-len(run) % 8))[: len(run) * 5 // 8]
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        # It may have been cut off in the middle of a character.
        return raw[: error.start].decode() if error.reason == "unexpected end of data" else ""


def _utf16(raw: bytes, end: str) -> str:
    return raw.decode(f"utf-16-{end}", "replace")
