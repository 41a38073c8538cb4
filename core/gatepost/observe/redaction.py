"""What is private at the moment, and how it is found in a text and taken out, however it is written.

A value is looked for among the letters and digits of a text alone, upper and lower case being one, and so an ä and
an a, and wide and narrow digits: then spaces, punctuation, line ends and most quoting between its characters hide
nothing. Where a text holds escapes or encoded runs it is looked at a second time with these undone.
"""

import binascii
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from unicodedata import normalize
from urllib.parse import quote, quote_plus, unquote

import msgspec

from gatepost.model import Contact, Secret
from gatepost.observe import encodings

REDACTED = "[redacted]"

Named = Secret | Contact | None

_LONG = 8
"""Letters from which a value is taken out wherever it stands; a shorter one only as a word of its own."""
_SHORT = 4
"""Letters below which a value says nothing, and taking it out would leave nothing to read."""
_BETWEEN = 3
"""Signs that may stand between two values that are taken out as one."""
_LINGERING = 32
"""Values that are still known when the work on them is over: what went wrong is often told afterwards."""

# Tried at the beginning of a word only, so that a long text without any address costs one look.
_ADDRESS = re.compile(
    r"(?<![^\s\"'<>()\[\],;:=])[^\s\"'<>()\[\],;:=]+(?:@|%40)[^\s\"'<>()\[\],;:]+", re.IGNORECASE
)
# Seven digits and more, grouped as people group them; not inside a longer word (ids, hashes, UUIDs).
# An SMTP reply's codes ("550 5.7.26") are left standing.
_NUMBER = re.compile(
    r"(?<![\w.-])(?!\d{3}[ -]\d\.\d{1,3}\.\d{1,3}(?!\d))(?:\+|%2B|00)?\(?\d(?:[\s().-]{0,2}\d){6,18}(?![\w-])",
    re.IGNORECASE,
)
_NOISE = re.compile(r"[\W_]+")
_SIGNS = bytes(sign for sign in range(128) if not chr(sign).isalnum())
# What nearly every address and number consists of; of these signs URL-encoding changes only @ and +.
_PLAIN = re.compile(r"[A-Za-z0-9._@+-]+", re.ASCII)


class _Values:
    """Texts that belong together; their forms are made when somebody first looks for them."""

    def __init__(self, named: Iterable[Named], *, whole: bool = False) -> None:
        self._named = tuple(named)
        self._whole = whole
        self._forms: frozenset[str] | None = None
        self._beginnings: frozenset[str] = frozenset()

    def within(self, letters: str, beginnings: set[str]) -> Sequence[str]:
        """The forms that stand in ``letters``; ``beginnings`` is every four of these in a row."""
        if self._forms is None:
            self._forms = frozenset(_forms(_texts(self._named), whole=self._whole))
            self._beginnings = frozenset(form[:_SHORT] for form in self._forms)
        # Nearly always there is nothing, and then this is all that a value costs.
        if self._beginnings.isdisjoint(beginnings):
            return ()
        return [form for form in self._forms if form in letters]


_here: ContextVar[tuple[_Values, ...]] = ContextVar("gatepost_private", default=())
# A connection that was opened for one message logs on for the next, out of the first one's context. So
# what anybody is working on is known everywhere.
_in_hand: dict[int, _Values] = {}
_lately: deque[_Values] = deque(maxlen=_LINGERING)
_always: list[_Values] = []


@contextmanager
def private(*values: Named) -> Iterator[None]:
    """Name what must not be logged while the block runs, nor soon after, nor ever by tasks started in it."""
    made = _Values(values)
    token = _here.set((*_here.get(), made))
    _in_hand[id(made)] = made
    try:
        yield
    finally:
        del _in_hand[id(made)]
        _lately.append(made)
        _here.reset(token)


def remember(*values: Named) -> None:
    """Name what has just turned up and must not be logged in what follows."""
    _lately.append(_Values(values))


def never(settings: object) -> None:
    """Name the secrets in these settings for as long as the process lives, in place of earlier settings'.

    Of an address only the whole: its domain may well be the operator's own, which the log speaks of.
    """
    _always[:] = [_Values(_secrets(settings), whole=True)]


def _secrets(value: object) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
        text = value.reveal()
        if "://" in text and "@" in text:
            # A URL's password.
            yield Secret(unquote(text.partition("://")[2].rpartition("@")[0].partition(":")[2]))
    elif isinstance(value, msgspec.Struct):
        yield from _secrets(msgspec.structs.astuple(value))
    elif isinstance(value, Mapping):
        yield from _secrets((*value.keys(), *value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _secrets(item)


def scrub(text: str, *values: Named) -> str:
    """``text`` without these values, without those that are named, and without what looks alike."""
    text = revealed(text, *values)
    return cut(without_lookalikes(text), found_in(text, *values))


def without(text: str) -> str:
    """``text`` without what is named; what merely looks like an address stays."""
    text = revealed(text)
    return cut(text, found_in(text))


def without_lookalikes(text: str) -> str:
    """``text`` without what looks like an address or a phone number.

    To be done first: of an address whose domain alone is named the rest would not be recognised any more.
    """
    return _NUMBER.sub(REDACTED, _ADDRESS.sub(REDACTED, text))


def revealed(text: str, *values: Named) -> str:
    """``text`` as ``found_in`` and ``cut`` can deal with it, where encodings hide any of these values in it.

    Its escapes are undone then, and runs that hide a value are gone. Nearly always it is the very same object.
    """
    plain = encodings.unescaped(text)
    if plain is not text and found_in(plain, *values):
        text = plain
    runs = encodings.unpacked(text)
    if runs and found_in("\n".join(runs.values()), *values):
        private = {run for run, meaning in runs.items() if found_in(meaning, *values)}
        text = encodings.without_runs(text, private, REDACTED)
    return text


def found_in(text: str, *values: Named) -> Sequence[str]:
    """The forms of these values and of those that are named that stand in ``text``."""
    letters = _letters(text)
    beginnings = {letters[at : at + _SHORT] for at in range(len(letters) - _SHORT + 1)}
    known = dict.fromkeys((*_here.get(), *tuple(_in_hand.values()), *tuple(_lately), *_always))
    return [form for one in (_Values(values), *known) for form in one.within(letters, beginnings)]


def holds(text: str, value: Secret) -> bool:
    """Whether the whole of ``value`` stands in ``text``, in any of its forms."""
    views = [text, encodings.unescaped(text), *encodings.unpacked(text).values()]
    letters = "\n".join(map(_letters, dict.fromkeys(views)))
    return any(form in letters for form in _spellings(value.reveal()) if len(form) >= _SHORT)


def cut(text: str, forms: Sequence[str]) -> str:
    """``text`` without these forms, as ``found_in`` gives them."""
    if not forms:
        return text
    letters, places = _located(text)
    kept: list[str] = []
    end = 0
    for first, last in sorted(span for form in forms for span in _spans(text, letters, places, form)):
        # What only signs part is one: the two halves of an address.
        if not kept or any(map(str.isalnum, text[end:first])) or first - end > _BETWEEN:
            kept += [text[end:first], REDACTED]
        end = max(end, last)
    return "".join([*kept, text[end:]])


def _letters(text: str) -> str:
    return _ascii_letters(text.encode()) if text.isascii() else _NOISE.sub("", _folded(text))


def _folded(text: str) -> str:
    """Wide, narrow and round characters as the usual ones, and accents as signs of their own."""
    return normalize("NFKD", text).casefold()


def _ascii_letters(text: bytes) -> str:
    # A third of what the expression takes, and letters are asked for with every record and every receipt.
    return text.lower().translate(None, _SIGNS).decode()


def _located(text: str) -> tuple[str, list[int]]:
    """What ``_letters`` gives, and where in the text each of its characters stands."""
    found = [
        (letter, place)
        for place, character in enumerate(text)
        for letter in (character.casefold() if character.isascii() else _folded(character))
        if letter.isalnum()
    ]
    return "".join(letter for letter, _ in found), [place for _, place in found]


def _spans(text: str, letters: str, places: Sequence[int], form: str) -> Iterator[tuple[int, int]]:
    at = letters.find(form)
    while at >= 0:
        first, last = places[at], places[at + len(form) - 1] + 1
        word = not (text[first - 1 : first].isalnum() or text[last : last + 1].isalnum())
        if word or len(form) >= _LONG:
            yield first, last
        at = letters.find(form, at + 1)


def _texts(named: Iterable[Named]) -> Iterator[str]:
    for value in named:
        if isinstance(value, Contact):
            yield from _texts((value.email, value.phone))
            yield from value.attributes.values()
        elif isinstance(value, Secret) and value:
            yield value.reveal()


def _forms(texts: Iterable[str], *, whole: bool) -> Iterator[str]:
    for text in texts:
        for part in (text,) if whole else _parts(text):
            yield from (form for form in _spellings(part) if len(form) >= _SHORT)


def _parts(text: str) -> Iterator[str]:
    """What is enough to find a text by, whole or in part."""
    local, at, domain = text.rpartition("@")
    if at and not any(map(str.isspace, text)):
        yield local if len(_letters(local)) >= _SHORT else text
        yield domain
        return
    digits = re.sub(r"[\s().+/-]", "", text)
    if digits.isascii() and digits.isdigit() and len(digits) >= _LONG:
        yield digits
        # As it is dialled within its country; no country's code has more than three digits.
        if len(digits) - 3 >= _LONG:
            yield digits[3:]
        return
    yield text


def _spellings(text: str) -> Iterator[str]:
    """A text's letters: plain, backwards, URL-encoded or quoted-printable, escaped, hexadecimal, base64."""
    raw = text.encode("utf-8", "replace")
    letters = _letters(text)
    yield letters
    if "." in text:
        # As people write it whom no program shall understand: jack at example dot com.
        said = text.replace("@", " at ").replace(".", " dot ")
        yield _letters(said)
        if "+" in said:
            yield _letters(said.replace("+", " plus "))
    if _PLAIN.fullmatch(text):
        # As the general way would have it, at a tenth of its price: this is done for every message.
        yield letters[::-1]
        yield _letters(text.replace("@", "40").replace("+", "2B"))
    else:
        yield _letters(text[::-1])
        yield _letters(quote(text, safe="", errors="replace"))
        yield _letters(quote_plus(text, errors="replace"))
        yield _letters(json.dumps(text))
    yield raw.hex()
    if not text.isascii():
        yield _letters(repr(raw)[2:-1])
    if len(raw) > 4:
        for shift, lead in enumerate((0, 2, 3)):
            # Within a longer text it has one of three shapes, and its ends depend on what stands beside it.
            encoded = binascii.b2a_base64(bytes(shift) + raw, newline=False)
            yield _ascii_letters(encoded.rstrip(b"=")[lead:-1])
