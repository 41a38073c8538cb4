"""What stands in a text behind escapes and encodings that any program may have put there.

In time that is linear in the text's length, and in next to none where there is nothing of the kind.
"""

import base64
import html
import re
from collections.abc import Collection

# Lengths are bounded, so that no row of backslashes is looked at again from each of its signs.
_ESCAPES = re.compile(
    r"""
      (?P<bytes> (?: \\{1,8} x [0-9A-F]{2} )+ | (?: % [0-9A-F]{2} )+ )
    | (?P<points> (?: (?: \\{1,8} | % ) u [0-9A-F]{4} )+ )
    | (?P<entity> & (?: \# [0-9]{1,7} | \# x [0-9A-F]{1,6} | [A-Z][A-Z0-9]{1,30} ) ; )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_BYTE = re.compile(r"[x%]([0-9A-F]{2})", re.IGNORECASE)
_POINT = re.compile(r"u([0-9A-F]{4})", re.IGNORECASE)
# Of four letters and more. Small letters alone are nearly always a word.
_RUN = re.compile(
    r"(?<![A-Za-z0-9])(?:[0-9A-Fa-f]{16,}|[A-Z2-7]{7,}|(?=[a-z]*[2-7])[a-z2-7]{7,})(?![A-Za-z0-9])"
)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_BASE32 = re.compile(r"[A-Z2-7]+|[a-z2-7]+")


def unescaped(text: str) -> str:
    """``text`` with the escapes of C, Python and JSON, of URLs and of HTML undone."""
    if "\\" in text or "%" in text or "&" in text:
        return _ESCAPES.sub(_unescaped, text)
    return text


def unpacked(text: str) -> dict[str, str]:
    """What the runs of hexadecimal UTF-16 and of base32 in ``text`` mean, by the run."""
    return {run: meaning for run in _RUN.findall(text) if (meaning := _unpacked(run))}


def without_runs(text: str, runs: Collection[str], instead: str) -> str:
    """``text`` with ``instead`` in the place of these runs."""
    return _RUN.sub(lambda match: instead if match[0] in runs else match[0], text)


def _unescaped(match: re.Match[str]) -> str:
    if match["entity"]:
        return html.unescape(match[0])
    if match["points"]:
        return _utf16(bytes.fromhex("".join(_POINT.findall(match[0]))), "be")
    raw = bytes.fromhex("".join(_BYTE.findall(match[0])))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _unpacked(run: str) -> str:
    meanings = []
    if _HEX.fullmatch(run):
        raw = bytes.fromhex(run)
        meanings = [_utf16(raw, "le"), _utf16(raw, "be")]
    if _BASE32.fullmatch(run):
        raw = base64.b32decode(run.upper() + "A" * (-len(run) % 8))
        meanings.append(raw.decode("utf-8", "replace"))
    return " ".join(meanings)


def _utf16(raw: bytes, end: str) -> str:
    return raw.decode(f"utf-16-{end}", "replace")
