"""The forms in which a private value may be written in a text, and where such a form stands in the text.

A form consists of letters and digits alone, in lower case, with accents dropped and wide characters narrowed. A text is
reduced in the same way before it is searched. So spaces, punctuation, line ends and most quoting between the
characters of a value do not hide it.
"""

import binascii
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from unicodedata import normalize
from urllib.parse import quote, quote_plus

MIN_FORM_LENGTH = 4
"""Letters of the shortest form that is searched for. A shorter one would match in every text."""

_MIN_INFIX_LENGTH = 8
"""Letters from which a form is found inside a longer word. A shorter one is found only as a whole word."""

_NOISE = re.compile(r"[\W_]+")
_ASCII_NOISE = bytes(code for code in range(128) if not chr(code).isalnum())
# Nearly every address and number consists of these characters. Of them URL-encoding changes @ and + alone.
_PLAIN = re.compile(r"[A-Za-z0-9._@+-]+", re.ASCII)


def reduce(text: str) -> str:
    """Return the letters and digits of a text, folded as the forms are."""
    return _reduce_ascii(text.encode()) if text.isascii() else _NOISE.sub("", _fold(text))


def forms(texts: Iterable[str], *, whole: bool) -> Iterator[str]:
    """Yield the forms of these texts, and of their parts unless only the ``whole`` texts are private."""
    for text in texts:
        for part in (text,) if whole else _parts(text):
            yield from forms_of(part)


def forms_of(text: str) -> Iterator[str]:
    """Yield the forms of one text that are long enough to be searched for."""
    return _long_enough(chain(_written(text), _encoded(text, sys.maxsize)))


def stands_in(text: str, letters: str, room: int) -> bool:
    """Return whether one of the forms of ``text`` stands in reduced ``letters``.

    Forms that are longer than ``room`` are not searched for: they can't stand in a text of so many ASCII characters.
    """
    forms = _encoded(text, room)
    # Nearly always it lacks a letter of the value, and then no form that has them all needs to be built.
    if not text.isascii() or set(reduce(text)).issubset(letters):
        forms = chain(_written(text), forms)
    return any(form in letters for form in _long_enough(forms))


def min_form_length(text: str) -> int:
    """Return the letters of the shortest form of a text in ASCII."""
    return min(len(reduce(text)), len(text) * 4 // 3 - 2)


def _long_enough(found: Iterable[str]) -> Iterator[str]:
    return (form for form in found if len(form) >= MIN_FORM_LENGTH)


def find_spans(text: str, found: Iterable[str]) -> list[tuple[int, int]]:
    """Return where these forms stand in ``text``, sorted, each as its first position and the one behind its last."""
    letters, positions = _reduce_with_positions(text)
    return sorted(span for form in found for span in _spans(text, letters, positions, form))


def _spans(text: str, letters: str, positions: Sequence[int], form: str) -> Iterator[tuple[int, int]]:
    at = letters.find(form)
    while at >= 0:
        first, last = positions[at], positions[at + len(form) - 1] + 1
        whole_word = not (text[first - 1 : first].isalnum() or text[last : last + 1].isalnum())
        if whole_word or len(form) >= _MIN_INFIX_LENGTH:
            yield first, last
        at = letters.find(form, at + 1)


def _reduce_with_positions(text: str) -> tuple[str, list[int]]:
    """Return what ``reduce`` returns, and the position in ``text`` of each of its characters."""
    found = [
        (letter, position)
        for position, character in enumerate(text)
        for letter in (character.casefold() if character.isascii() else _fold(character))
        if letter.isalnum()
    ]
    return "".join(letter for letter, _ in found), [position for _, position in found]


def _fold(text: str) -> str:
    """Replace wide, narrow and circled characters by the usual ones, and separate accents from their letters."""
    return normalize("NFKD", text).casefold()


def _reduce_ascii(text: bytes) -> str:
    # Takes a third of the time of the regular expression, for every log record and every receipt.
    return text.lower().translate(None, _ASCII_NOISE).decode()


def _parts(text: str) -> Iterator[str]:
    """Yield the parts of a value that must not be shown either: of an address, or of a phone number."""
    local, at, domain = text.rpartition("@")
    if at and not any(map(str.isspace, text)):
        yield local if len(reduce(local)) >= MIN_FORM_LENGTH else text
        yield domain
        return
    digits = re.sub(r"[\s().+/-]", "", text)
    if digits.isascii() and digits.isdigit() and len(digits) >= _MIN_INFIX_LENGTH:
        yield digits
        # As it is dialled within its country: no country code has more than three digits.
        if len(digits) - 3 >= _MIN_INFIX_LENGTH:
            yield digits[3:]
        return
    yield text


def _written(text: str) -> Iterator[str]:
    """Yield a text plain, reversed, URL-encoded or quoted-printable, and escaped, reduced.

    Each of these has every letter of a text in ASCII.
    """
    letters = reduce(text)
    yield letters
    if "." in text:
        # As people hide an address from programs: jack at example dot com.
        spoken = text.replace("@", " at ").replace(".", " dot ")
        yield reduce(spoken)
        if "+" in spoken:
            yield reduce(spoken.replace("+", " plus "))
    if _PLAIN.fullmatch(text):
        # The same as in the other branch, at a tenth of its cost.
        yield letters[::-1]
        yield reduce(text.replace("@", "40").replace("+", "2B"))
    else:
        yield reduce(text[::-1])
        yield reduce(quote(text, safe="", errors="replace"))
        yield reduce(quote_plus(text, errors="replace"))
        yield reduce(json.dumps(text))
    if not text.isascii():
        yield reduce(repr(text.encode("utf-8", "replace"))[2:-1])


def _encoded(text: str, room: int) -> Iterator[str]:
    """Yield a text hexadecimal and in base64, reduced, without what is longer than ``room``."""
    raw = text.encode("utf-8", "replace")
    if 2 * len(raw) <= room:
        yield raw.hex()
    if len(raw) > 4 and len(raw) * 4 // 3 - 2 <= room:
        for shift, lead in enumerate((0, 2, 3)):
            # Inside a longer text base64 gives a value one of three shapes, and its ends depend on its neighbours.
            encoded = binascii.b2a_base64(bytes(shift) + raw, newline=False)
            yield _reduce_ascii(encoded.rstrip(b"=")[lead:-1])
