"""The syntax of a merge field: ``{{contact.NAME}}``, with ``:FILTER`` and ``|DEFAULT`` where one wants them.

All other text between double braces stays as it is: it may be Smartico's or the provider's.
"""

import re
from collections.abc import Iterator
from enum import Enum, auto
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

# Neither a default nor a name has braces, so a field that does not end is found at the next brace.
_FIELD = re.compile(r"\{\{\s*+contact\.([^{}]*+)(\}\}|)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")

MAX_FIELDS = 1_000
"""Merge fields of a subject or body; other tasks wait while they are read and filled, a few microseconds each."""

CASES = ("upper", "lower", "title", "capitalize")
FORMATS = ("date", "number")
"""Filters that need the package babel."""

_ADDRESSES = frozenset({"email", "phone"})


class Context(Enum):
    """Where a merge field stands, which decides how its value is escaped."""

    TEXT = auto()
    """Plain text."""
    TEXT_URL = auto()
    """A URL in plain text."""
    SUBJECT = auto()
    HTML = auto()
    """A text or the quoted value of an attribute."""
    HTML_URL = auto()
    """The quoted value of an attribute that is a URL."""


class MergeField(NamedTuple):
    """One merge field of a template."""

    name: str
    context: Context
    filter: str = ""
    """The name of a filter; empty: none."""
    default: str | None = None
    """The text for a contact without this attribute; None: there is none, which is worth a remark."""


class Template(NamedTuple):
    """A text with merge fields."""

    pieces: tuple[str | MergeField, ...]


class TemplateError(Exception):
    """A template that can't be filled: what is wrong, and at which character. It quotes nothing."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.position = position


class MissingPackage(TemplateError):
    """A template that can't be filled in this installation, because a package is missing."""


class Pieces:
    """Collects the pieces of a template from its source, in order."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._pieces: list[str | MergeField] = []
        self.at = 0
        """Where the last field ended."""

    def add(self, start: int, end: int, field: MergeField) -> None:
        """Add the field between these positions, and what stands before it; raise TemplateError."""
        if len(self._pieces) >= 2 * MAX_FIELDS:
            raise TemplateError(f"there are more than {MAX_FIELDS:,} merge fields", start)
        self._pieces += self._source[self.at : start], field
        self.at = end

    def template(self) -> Template:
        """Return the template, after the last field was added."""
        return Template((*self._pieces, self._source[self.at :]))


class FoundField(NamedTuple):
    """The place of a merge field in a source, and what stands between ``contact.`` and the closing braces."""

    start: int
    end: int
    inside: str


def has_fields(source: str) -> bool:
    """Return whether a merge field begins somewhere in this text."""
    # Not `"{{" in source`: that takes many times as long where a source has single braces, as CSS has.
    return _FIELD.search(source) is not None


def without_fields(source: str) -> str:
    """Return the text without its merge fields."""
    return _FIELD.sub("", source)


def field_position(source: str, start: int) -> int:
    """Return where the next merge field begins; the length of the source where there is none."""
    match = _FIELD.search(source, start)
    return match.start() if match else len(source)


def find_fields(source: str, start: int, end: int) -> Iterator[FoundField]:
    """Yield the merge fields between two positions; raise TemplateError for one that does not end there."""
    for match in _FIELD.finditer(source, start, end):
        if not match.group(2):
            raise TemplateError(
                "a merge field does not end with }}, or has a brace or a tag inside", match.start()
            )
        yield FoundField(match.start(), match.end(), match.group(1))


def read_field(inside: str, context: Context, position: int) -> MergeField:
    """Return the merge field with this text inside; raise TemplateError."""
    written, has_default, default = inside.partition("|")
    name, has_filter, used = (part.strip() for part in written.partition(":"))
    if not _NAME.fullmatch(name):
        raise TemplateError(
            "the name of an attribute is a letter or _ and up to 63 letters, digits, _ and -", position
        )
    if name.lower() in _ADDRESSES:
        raise TemplateError("the user's email and phone are not attributes", position)
    if has_filter and used not in CASES + FORMATS:
        raise TemplateError(f"there is no such filter: use one of {', '.join(CASES + FORMATS)}", position)
    if used in FORMATS and not _has_babel():
        raise MissingPackage(
            f"the filter {used} needs babel: from your checkout, pip install '.[merge-fields]'",
            position,
        )
    return MergeField(name, context, used, clean(default) if has_default else None)


@cache
def _has_babel() -> bool:
    return find_spec("babel") is not None


# Characters that end a line somewhere or that no program shows: C0, DEL, C1, and Unicode's line separators.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# They change the direction of whatever follows them (names in Arabic or Hebrew letters do without), or are not shown.
_DROPPED = re.compile(
    "[\u202a-\u202e\u2066-\u2069\xad\u034f\u115f\u1160\u180e\u200b\u2060-\u2064\ufdd0-\ufdef\ufeff\ufffe\uffff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return the text in one line, without characters that control others, turn their direction, or are not shown."""
    if not (text.isascii() and text.isprintable()):
        text = _SURROGATE.sub("\ufffd", _DROPPED.sub("", _CONTROL.sub(" ", text)))
    return text.strip()
