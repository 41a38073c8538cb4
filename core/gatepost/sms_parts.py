"""The parts of a text message: what a phone network sends, and a provider bills, one by one.

The alphabet and its extension are those of 3GPP TS 23.038, sections 6.2.1 and 6.2.1.1; the room that a part leaves
beside its header is that of TS 23.040, section 9.2.3.24.1. Other tables of TS 23.038, such as the Turkish one, are
not considered: a provider uses them only if one asks for them.
"""

from collections.abc import Container, Sequence

# In the order of the table's code points, sixteen per line; 0x1B is the escape to the extension.
_DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
_EXTENSION = "\f^{}\\[~]|€"
_ESCAPE = "\x1b"
"""It precedes each character of the extension; no text of the alphabet contains it."""

_ALPHABET = frozenset(_DEFAULT + _EXTENSION)
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
        return _count(text, _ESCAPE, single=GSM7_SINGLE, part=GSM7_PART)
    first_bytes = text.encode("utf-16-be", "surrogatepass")[::2]
    return _count(first_bytes, _HIGH_SURROGATES, single=UCS2_SINGLE, part=UCS2_PART)


def _count(units: Sequence[object], begins_pair: Container[object], *, single: int, part: int) -> int:
    if len(units) <= single:
        return 1
    parts = start = 0
    while start < len(units):
        parts += 1
        start += part
        if start < len(units) and units[start - 1] in begins_pair:
            start -= 1
    return parts
