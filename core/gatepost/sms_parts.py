"""The parts of a text message: what a phone network sends, and a provider bills, one by one.

The alphabet and its extension are those of 3GPP TS 23.038, sections 6.2.1 and 6.2.1.1; the room that a part leaves
beside its header is that of TS 23.040, section 9.2.3.24.1. Other tables of TS 23.038, such as the Turkish one, are
not considered: a provider uses them only if one asks for them.
"""

from collections.abc import Container, Sequence

# In the order of the table's code points, sixteen per line; 0x1B is the escape to the extension.
_DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
_ESCAPE = "\x1b"
"""It precedes each character of the extension; no text of the alphabet contains it."""
_EXTENSION = dict(zip("\f^{}\\[~]|€", "\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", strict=True))
_CODES = str.maketrans(
    {character: chr(code) for code, character in enumerate(_DEFAULT)}
    | {character: _ESCAPE + code for character, code in _EXTENSION.items()}
)
_ALPHABET = frozenset(_DEFAULT).union(_EXTENSION) - {_ESCAPE}
_HIGH_SURROGATES = range(0xD8, 0xDC)
"""The first byte of the first half of a character that takes two code units of UTF-16."""

GSM7_SINGLE = 160
"""Characters of a message in one part; one of the extension counts as two."""
GSM7_PART = 153
"""Characters of each part of a longer message."""
UCS2_SINGLE = 70
"""UTF-16 code units of a message in one part if its text has a character outside the alphabet."""
UCS2_PART = 67
"""UTF-16 code units of each part of a longer message; most emoji take two."""


def is_gsm7(text: str) -> bool:
    """Tell whether the alphabet has every character; with another one, the whole text is sent as UCS-2."""
    return _ALPHABET.issuperset(text)


def first_not_gsm7(text: str) -> str:
    """Return the first character that the alphabet does not have; empty where it has them all."""
    return "" if is_gsm7(text) else next(character for character in text if character not in _ALPHABET)


def count_parts(text: str) -> int:
    """Return the number of parts that a text is sent in, at least 1.

    A character that takes two units is never divided between two parts. The time grows with the length of the text:
    about 20 ms for a megabyte.
    """
    if is_gsm7(text):
        for character in _EXTENSION:
            text = text.replace(character, _ESCAPE + character)
        return len(_divide(text, _ESCAPE, GSM7_SINGLE, GSM7_PART))
    first_bytes = text.encode("utf-16-be", "surrogatepass")[::2]
    return len(_divide(first_bytes, _HIGH_SURROGATES, UCS2_SINGLE, UCS2_PART))


def encode_parts(text: str) -> Sequence[bytes]:
    """Return the octets of each part of a text, as many as ``count_parts`` says.

    A text of the alphabet has an octet for each code, unpacked; any other is UTF-16, the high octet first.
    """
    if is_gsm7(text):
        octets = text.translate(_CODES).encode("latin-1")
        return [octets[part] for part in _divide(octets, _ESCAPE.encode(), GSM7_SINGLE, GSM7_PART)]
    octets = text.encode("utf-16-be", "surrogatepass")
    parts = _divide(octets[::2], _HIGH_SURROGATES, UCS2_SINGLE, UCS2_PART)
    return [octets[2 * part.start : 2 * part.stop] for part in parts]


def _divide(
    units: Sequence[object], begins_pair: Container[object], single: int, part: int
) -> Sequence[slice]:
    """Return where each part begins and ends."""
    if len(units) <= single:
        return [slice(0, len(units))]
    parts: list[slice] = []
    start = 0
    while start < len(units):
        end = min(start + part, len(units))
        if end < len(units) and units[end - 1] in begins_pair:
            end -= 1
        parts.append(slice(start, end))
        start = end
    return parts
