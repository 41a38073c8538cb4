"""The values that are private at the moment, and their removal from texts.

A value is found however it is written (see ``spellings``). A text that holds escapes or encoded runs is searched a
second time with these decoded.
"""

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from urllib.parse import unquote

from gatepost.model import Contact, Secret
from gatepost.observe import encodings
from gatepost.observe.leaves import secrets
from gatepost.observe.spellings import MIN_FORM_LENGTH, find_spans, forms, min_form_length, reduce, stands_in

REDACTED = "[redacted]"
"""What stands in place of a private value."""

Private = Secret | Contact | None
"""A value that must not be shown; None is accepted and has no effect."""

MAX_RECENT = 32
"""Scopes whose values stay private after they have ended: an error is often logged a little later."""

_MAX_GAP = 3
"""Characters that may stand between two values that are replaced as one."""

# Matches at the start of a word only, so that a long text without an address is scanned once.
_ADDRESS = re.compile(
    r"(?<![^\s\"'<>()\[\],;:=])[^\s\"'<>()\[\],;:=]+(?:@|%40)[^\s\"'<>()\[\],;:]+", re.IGNORECASE
)
# Seven digits or more, in the groups that people write. Not inside a longer word (an id, a hash, a UUID), and not the
# codes of an SMTP reply ("550 5.7.26").
_NUMBER = re.compile(
    r"(?<![\w.-])(?!\d{3}[ -]\d\.\d{1,3}\.\d{1,3}(?!\d))(?:\+|%2B|00)?\(?\d(?:[\s().-]{0,2}\d){6,18}(?![\w-])",
    re.IGNORECASE,
)
# A phone number with the sign that tells it from a number of any other kind. Not inside a run of base64.
_INTERNATIONAL_NUMBER = re.compile(
    r"(?<![\w+/=.-])(?:\+|%2B)\(?\d(?:[\s().-]{0,2}\d){6,14}(?!\w)", re.IGNORECASE
)


class _Values:
    """Values that became private together. Their forms are computed at the first search."""

    __slots__ = ("_forms", "_prefixes", "_values", "_whole")

    def __init__(self, values: Iterable[Private], *, whole: bool = False) -> None:
        self._values = tuple(values)
        self._whole = whole
        self._forms: frozenset[str] | None = None
        self._prefixes: frozenset[str]

    def find(self, letters: str, windows: set[str]) -> Sequence[str]:
        """Return the forms that stand in ``letters``; ``windows`` is every MIN_FORM_LENGTH of them in a row."""
        if self._forms is None:
            self._forms = frozenset(forms(_texts(self._values), whole=self._whole))
            self._prefixes = frozenset(form[:MIN_FORM_LENGTH] for form in self._forms)
        # Nearly always nothing matches, and then this comparison is the whole cost of a value.
        if self._prefixes.isdisjoint(windows):
            return ()
        return [form for form in self._forms if form in letters]


_context_scopes: ContextVar[tuple[_Values, ...]] = ContextVar("gatepost_private", default=())
# The scopes of all tasks. A connection that was opened for one message logs while it carries the next one, and then
# it is outside of the first message's context.
_active_scopes: dict[int, _Values] = {}
_recent_scopes: deque[_Values] = deque(maxlen=MAX_RECENT)
_settings_secrets: list[_Values] = []


class redaction_scope:  # noqa: N801  used as a function, and cheaper than one made by contextmanager
    """Redact these values while the block runs, for a while after it, and always in tasks started in it."""

    __slots__ = ("_scope", "_token")

    def __init__(self, *values: Private) -> None:
        self._scope = _Values(values)

    def __enter__(self) -> None:
        self._token = _context_scopes.set((*_context_scopes.get(), self._scope))
        _active_scopes[id(self._scope)] = self._scope

    def __exit__(self, *_error: object) -> None:
        del _active_scopes[id(self._scope)]
        _recent_scopes.append(self._scope)
        _context_scopes.reset(self._token)


def redact_recent(*values: Private) -> None:
    """Redact these values from now on, until MAX_RECENT further scopes have ended."""
    _recent_scopes.append(_Values(values))


def redact_settings(settings: object) -> None:
    """Redact the secrets in these settings as long as the process lives, in place of those of earlier settings.

    An address is redacted only as a whole: its domain may be the operator's own, which the log names often.
    """
    _settings_secrets[:] = [_Values(_with_url_passwords(secrets(settings)), whole=True)]


def _with_url_passwords(found: Iterable[Secret]) -> Iterator[Secret]:
    for secret in found:
        yield secret
        text = secret.reveal()
        if "://" in text and "@" in text:
            yield Secret(unquote(text.partition("://")[2].rpartition("@")[0].partition(":")[2]))


def redact(text: str, *values: Private) -> str:
    """Remove from ``text`` these values, all values that are private now, and what looks like one."""
    text = decode_private(text, *values)
    return remove_forms(redact_patterns(text), find_forms(text, *values))


def redact_values(text: str) -> str:
    """Remove the values that are private now from ``text``; what merely looks like an address stays."""
    text = decode_private(text)
    return remove_forms(text, find_forms(text))


def redact_patterns(text: str) -> str:
    """Remove from ``text`` what looks like an address or a phone number.

    Must come before ``remove_forms``: when a domain is removed, the rest no longer looks like an address.
    """
    # Looking for its sign takes a tenth of the search for an address, and nearly every text has none.
    if "@" in text or "%40" in text:
        text = _ADDRESS.sub(REDACTED, text)
    return _NUMBER.sub(REDACTED, text)


def looks_private(text: str) -> bool:
    """Return whether something in ``text`` looks like an address, or like a phone number with its plus sign.

    Digits alone do not: they may be a time, a count or an id.
    """
    return any(pattern.search(text) for pattern in (_ADDRESS, _INTERNATIONAL_NUMBER))


def decode_private(text: str, *values: Private) -> str:
    """Return ``text`` in a form in which ``find_forms`` finds the private values that encodings hide in it.

    Its escapes are decoded if one of them hides a value, and encoded runs that hide a value are replaced. Nearly
    always it is the same object.
    """
    plain = encodings.decode_escapes(text)
    if plain is not text and find_forms(plain, *values):
        text = plain
    runs = encodings.decode_runs(text)
    if runs and find_forms("\n".join(runs.values()), *values):
        private = {run for run, meaning in runs.items() if find_forms(meaning, *values)}
        text = encodings.replace_runs(text, private, REDACTED)
    return text


def find_forms(text: str, *values: Private) -> Sequence[str]:
    """Return the forms of these values, and of those that are private now, that stand in ``text``."""
    letters = reduce(text)
    windows = {letters[at : at + MIN_FORM_LENGTH] for at in range(len(letters) - MIN_FORM_LENGTH + 1)}
    known = dict.fromkeys(
        (*_context_scopes.get(), *tuple(_active_scopes.values()), *tuple(_recent_scopes), *_settings_secrets)
    )
    return [form for one in (_Values(values), *known) for form in one.find(letters, windows)]


def contains(text: str, value: Secret) -> bool:
    """Return whether the whole of ``value`` stands in ``text``, in any of its forms."""
    whole = value.reveal()
    views = [text, encodings.decode_escapes(text)]
    room, shortest = sys.maxsize, 0
    # Outside of ASCII one character may stand for several letters.
    if text.isascii() and whole.isascii():
        # This runs for every receipt, and most ids are too short for an address in most encodings.
        room, shortest = len(text), min_form_length(whole)
        if shortest > room:
            return False
    # Base32, the shortest of the runs, takes eight characters for five.
    if room >= shortest * 8 / 5:
        views += encodings.decode_runs(text).values()
    letters = "\n".join(map(reduce, dict.fromkeys(views)))
    return stands_in(whole, letters, room)


def remove_forms(text: str, found: Sequence[str]) -> str:
    """Replace the forms that ``find_forms`` has found in ``text``."""
    if not found:
        return text
    parts: list[str] = []
    end = 0
    for first, last in find_spans(text, found):
        # Two values with a few characters between them, such as the halves of an address, are replaced as one.
        if not parts or any(map(str.isalnum, text[end:first])) or first - end > _MAX_GAP:
            parts += [text[end:first], REDACTED]
        end = max(end, last)
    return "".join([*parts, text[end:]])


def _texts(values: Iterable[Private]) -> Iterator[str]:
    for value in values:
        if isinstance(value, Contact):
            yield from _texts((value.email, value.phone))
            yield from value.attributes.values()
        elif isinstance(value, Secret) and value:
            yield value.reveal()
