"""The values of merge fields: a contact's attributes, filtered, and escaped for where they stand."""

import re
from collections.abc import Mapping
from html import escape
from urllib.parse import quote

from gatepost.merge_fields.fields import FORMATS, Context, MergeField, Template, clean
from gatepost.merge_fields.letter_case import with_case

LANGUAGE = "language"
"""The attribute with the contact's language, BCP 47."""

_URLS = frozenset({Context.HTML_URL, Context.TEXT_URL})
_DOT_SEGMENTS = frozenset({".", ".."})
"""Parts of a path that a browser removes, also when they are encoded: the link would lead elsewhere."""

_MARKS = "{}[]%*|"
"""What providers take for a template of their own has two of them: {{ }}, {% %}, [[ ]], *| |*."""

# A blank between the two makes it text.
_BETWEEN_MARKS = re.compile(f"(?<=[{re.escape(_MARKS)}])(?=[{re.escape(_MARKS)}])")


class TooLong(Exception):
    """The filled text is longer than it may be; how long it may be."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"longer than {limit:,} characters")
        self.limit = limit


class Values:
    """The values for the merge fields of one message."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._attributes = attributes
        self._language = attributes.get(LANGUAGE, "")
        self._clean: dict[str, str] = {}
        self._values: dict[MergeField, str] = {}
        self.empty: dict[str, None] = {}
        """The names of attributes that the contact lacks and that have no default."""
        self.changed: set[str] = set()
        """The values that a filter has changed, so that they are not an attribute's own any more."""

    def fill(self, template: Template, limit: int) -> str:
        """Return the template with its fields filled; raise TooLong where that has more characters than ``limit``."""
        first, *others = template.pieces
        if isinstance(first, str) and not others:
            # What is not filled is not limited either.
            return first
        parts = [""]
        length = 0
        last: str | MergeField = ""
        for piece in template.pieces:
            part = piece if isinstance(piece, str) else self._value(piece, limit)
            if not part:
                continue
            if _needs_blank(last, piece) and _BETWEEN_MARKS.search(parts[-1][-1:] + part[0]):
                part = f" {part}"
            length += len(part)
            # At once: a short template may have a field a thousand times, and a contact a long attribute.
            if length > limit:
                raise TooLong(limit)
            parts.append(part)
            last = piece
        return "".join(parts)

    def _value(self, field: MergeField, limit: int) -> str:
        value = self._values.get(field)
        if value is None:
            value = self._values[field] = _escape(self._plain(field, limit), field.context)
        return value

    def _plain(self, field: MergeField, limit: int) -> str:
        value = self._clean.get(field.name)
        if value is None:
            value = self._clean[field.name] = as_text(clean(self._attributes.get(field.name, "")))
        if value and field.filter:
            value = self._filtered(field.filter, value, limit)
        if value and not (field.context in _URLS and value in _DOT_SEGMENTS):
            return value
        if field.default is None:
            self.empty[field.name] = None
        return field.default or ""

    def _filtered(self, used: str, value: str, limit: int) -> str:
        if used in FORMATS:
            # It takes a quarter of a second to load, and few templates need it.
            from gatepost.merge_fields.formats import formatted  # noqa: PLC0415

            filtered = formatted(used, value, self._language)
        elif len(value) > limit:
            # Before the filter: it takes long for a text that is too long anyway.
            raise TooLong(limit)
        else:
            filtered = with_case(used, value, self._language)
        self.changed.add(filtered)
        return filtered


def _needs_blank(left: str | MergeField, right: str | MergeField) -> bool:
    """Return whether a blank may be put between these two; what the template itself has side by side stays."""
    if isinstance(right, MergeField):
        return right.context not in _URLS
    return isinstance(left, MergeField)


def as_text(value: str) -> str:
    """Return a value without what would be a template for the provider, alone or with a brace beside it.

    The brace may be behind a tag, which a text that is derived from the HTML is without.
    """
    value = _BETWEEN_MARKS.sub(" ", value)
    return f"{' ' if value.startswith('{') else ''}{value}{' ' if value.endswith('}') else ''}"


def _escape(value: str, context: Context) -> str:
    if context in _URLS:
        return quote(value, safe="")
    if context is Context.HTML:
        return escape(value)
    if context is Context.SUBJECT:
        # A value must not become an encoded word (RFC 2047), also with a `=` that stands before it.
        value = value.replace("=?", "= ?")
        return f" {value}" if value.startswith("?") else value
    return value
