"""The search for plain hashes of addresses and numbers: whoever guesses an address can compare it with its hash."""

import binascii
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping

from gatepost.prove.views import BASE64_RUN, from_base64

HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256")
"""The hashes that are computed of each address and number."""

_SHORTEST = 8
"""Bytes of a hash that are enough to recognise it: few addresses have the same beginning."""

_HEX = re.compile(rb"[0-9A-Fa-f]{16,}")
# A hash with eight zero bytes in a row does not happen.
_NOT_EMPTY = re.compile(rb"(?:(?!\0{8}).){8,}", re.DOTALL)


def digests_of(values: Mapping[str, str]) -> dict[bytes, tuple[str, str]]:
    """Return the beginnings of all hashes of the values, each with the value's name and the hash's."""
    return {
        hashlib.new(kind, text.encode(), usedforsecurity=False).digest()[:_SHORTEST]: (name, kind)
        for name, value in values.items()
        for text in _spellings(value)
        for kind in HASHES
    }


def find(content: bytes, digests: Mapping[bytes, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each value whose hash the content holds, and the spelling: in hexadecimal, base64 or raw."""
    if not digests:
        return
    for spelling, windows in _WINDOWS.items():
        for digest in filter(digests.__contains__, windows(content)):
            name, kind = digests[digest]
            yield name, f"plain hash ({kind}), {spelling}"


def _in_hexadecimal(content: bytes) -> Iterator[bytes]:
    for run in set(_HEX.findall(content)):
        for start in range(len(run) - 2 * _SHORTEST + 1):
            yield binascii.unhexlify(run[start : start + 2 * _SHORTEST])


def _in_base64(content: bytes) -> Iterator[bytes]:
    for run in set(BASE64_RUN.findall(content)):
        for shift in range(4):
            raw = from_base64(run, shift)
            for start in range(0, len(raw) - _SHORTEST + 1, 3):
                yield raw[start : start + _SHORTEST]


def _raw(content: bytes) -> Iterator[bytes]:
    # Only in a file of bytes, such as a database. Most of a new one is empty.
    if b"\0" in content:
        for run in _NOT_EMPTY.findall(content):
            for start in range(len(run) - _SHORTEST + 1):
                yield run[start : start + _SHORTEST]


_WINDOWS: Mapping[str, Callable[[bytes], Iterator[bytes]]] = {
    "hexadecimal": _in_hexadecimal,
    "base64": _in_base64,
    "bytes": _raw,
}


def _spellings(value: str) -> set[str]:
    """Return how an address or a number is written before it is hashed."""
    if "@" in value:
        return {value, value.lower(), value.upper(), value.partition("@")[0], f"mailto:{value}"}
    digits = value.lstrip("+")
    return {value, digits, f"00{digits}", f"tel:{value}"}
