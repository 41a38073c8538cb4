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


def forms_of(text: str, room: int = sys.maxsize) -> Iterator[str]:
    """Yield the forms of one text that are long enough to be searched for.

    Forms that are longer than ``room`` may be left out: they can't stand in a text of so many ASCII characters.
    """
    return (form for form in _spellings(text, room) if len(form) >= MIN_FORM_LENGTH)


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


def _spellings(text: str, room: int) -> Iterator[str]:
    """Yield a text plain, reversed, URL-encoded or quoted-printable, escaped, hexadecimal and in base64, reduced."""
    raw = text.encode("utf-8", "replace")
    letters = reduce(text)
    base64_length = len(raw) * 4 // 3 - 2
    if min(len(letters), base64_length) > room:
        return
    yield letters
    if "." in text:
        # As people hide an address from programs: jack at example dot com.
        spoken = text.replace("@", " at ").replace(".", " dot ")
        yield reduce(spoken)
        if "+" in spoken:
            yield reduce(spoken.replace("+", " plus "))
    if _PLAIN.fullmatch(text):
        # The same as in the other branch, at a tenth of its cost: this runs for every message.
        yield letters[::-1]
        yield reduce(text.replace("@", "40").replace("+", "2B"))
    else:
        yield reduce(text[::-1])
        yield reduce(quote(text, safe="", errors="replace"))
        yield reduce(quote_plus(text, errors="replace"))
        yield reduce(json.dumps(text))
    if 2 * len(raw) <= room:
        yield raw.hex()
    if not text.isascii():
        yield reduce(repr(raw)[2:-1])
    if len(raw) > 4 and base64_length <= room:
        for shift, lead in enumerate((0, 2, 3)):
            # Inside a longer text base64 gives a value one of three shapes, and its ends depend on its neighbours.
            encoded = binascii.b2a_base64(bytes(shift) + raw, newline=False)
            yield _reduce_ascii(encoded.rstrip(b"=")[lead:-1])
