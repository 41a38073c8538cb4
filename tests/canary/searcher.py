"""Searches bytes for private values, in every spelling and encoding in which they may have got there.

It shares no code with the gateway's redaction: that computes the encodings of a value, and this decodes the bytes.
"""

import base64
import binascii
import html
import quopri
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote_to_bytes

_NOISE = re.compile(r"[\W_]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-](?:[A-Za-z0-9+/_=-]|[\r\n]+(?=[A-Za-z0-9+/_=-])){10,}")
_BASE32 = re.compile(rb"(?:[A-Z2-7][\r\n]{0,2}){7,}|(?:[a-z2-7][\r\n]{0,2}){7,}")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}[ :]?){6,}")
_ESCAPE = re.compile(rb"[\\%]+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")
# A long text is searched in pieces of this size, which overlap by this much.
_PIECE, _OVERLAP = 1 << 20, 4096


def letters(text: str) -> str:
    return _NOISE.sub("", unicodedata.normalize("NFKD", text).casefold())


def needles(values: Mapping[str, str]) -> dict[str, str]:
    """Return the texts to search for, each with the name of its value."""
    spoken_signs = {"@": " at ", ".": " dot ", "+": " plus ", "-": " dash ", "_": " underscore "}
    found = {letters(value): name for name, value in values.items()}
    for name, value in values.items():
        for signs in ("@.", "@.+", "@.+-_"):
            spoken = "".join(spoken_signs[sign] if sign in signs else sign for sign in value)
            found.setdefault(letters(spoken), name)
    return found


def of_person(email: str, phone: str, *names: str) -> dict[str, str]:
    """Return every part of a person's data that identifies the person."""
    local, _, domain = email.partition("@")
    digits = phone.lstrip("+")
    return {
        "local part": local,
        "domain": domain,
        "number": digits,
        "national number": digits[2:],
        **{f"name {position}": name for position, name in enumerate(names)},
    }


def found(content: bytes, values: Mapping[str, str]) -> list[str]:
    """Return the names of the values that ``content`` holds, each with its spelling and its surroundings."""
    wanted = needles(values)
    return [
        hit
        for start in range(0, max(len(content), 1), _PIECE)
        for hit in _found_in_piece(content[start : start + _PIECE + _OVERLAP], wanted)
    ]


def _found_in_piece(content: bytes, wanted: Mapping[str, str]) -> Iterator[str]:
    for way, seen in _views(content):
        squeezed = letters(seen.decode("utf-8", "replace"))
        for needle, name in wanted.items():
            for backwards, form in (("", needle), (" backwards", needle[::-1])):
                at = squeezed.find(form)
                if at >= 0:
                    yield f"{name} {way}{backwards}: …{squeezed[max(at - 60, 0) : at + len(form) + 60]}…"


def _views(content: bytes) -> Iterator[tuple[str, bytes]]:
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
    yield "UTF-16, hexadecimal", pieces.replace(b"\0", b"").decode("latin-1").encode()
    if b"\0" in content:
        yield "UTF-16", content.replace(b"\0", b"").decode("latin-1").encode()
    # Any word may be base32, and a log repeats its words.
    words = set(_BASE32.findall(content))
    for shift in range(8):
        yield "base32", b"\n".join(_from_base32(run, shift) for run in words)
    for shift in range(4):
        yield "base64", b"\n".join(_from_base64(run, shift) for run in _BASE64.findall(content))


def _character(match: re.Match[bytes]) -> str:
    return chr(int(match[1] or match[2], 16))


def _from_hex(run: bytes) -> bytes:
    digits = re.sub(rb"[ :]", b"", run)
    return (
        binascii.unhexlify(digits[: len(digits) // 2 * 2])
        + b"\n"
        + binascii.unhexlify(digits[1 : 1 + (len(digits) - 1) // 2 * 2])
    )


def _from_base64(run: bytes, shift: int) -> bytes:
    run = re.sub(rb"[\r\n=]", b"", run)[shift:].translate(bytes.maketrans(b"-_", b"+/"))
    return base64.b64decode(run + b"A" * (-len(run) % 4))


def _from_base32(run: bytes, shift: int) -> bytes:
    run = re.sub(rb"[\r\n]", b"", run)[shift:].upper()
    return base64.b32decode(run + b"A" * (-len(run) % 8))


def in_folder(folder: Path, values: Mapping[str, str], *, but: tuple[str, ...] = ()) -> list[str]:
    """Search every file under ``folder`` and its name, except those whose names begin with one of ``but``."""
    hits = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.startswith(but):
            continue
        content = path.read_bytes() if path.is_file() else b""
        hits += [f"{name}: {hit}" for hit in found(name.encode() + b"\n" + content, values)]
    return hits
