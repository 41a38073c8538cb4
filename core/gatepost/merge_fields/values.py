"""The values of merge fields: a contact's attributes, filtered, and escaped for where they stand."""

from collections.abc import Mapping
from html import escape
from urllib.parse import quote

from gatepost.merge_fields.fields import FORMATS, Context, MergeField, Template, clean
from gatepost.merge_fields.letter_case import with_case

LANGUAGE = "language"
"""The attribute with the contact's language, BCP 47."""


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

    def fill(self, template: Template, limit: int) -> str:
        """Return the template with its fields filled; raise TooLong where that has more characters than ``limit``."""
        first, *others = template.pieces
        if isinstance(first, str) and not others:
            # What is not filled is not limited either.
            return first
        parts = []
        length = 0
        for piece in template.pieces:
            part = piece if isinstance(piece, str) else self._value(piece)
            length += len(part)
            # At once: a short template may have a field a thousand times, and a contact a long attribute.
            if length > limit:
                raise TooLong(limit)
            parts.append(part)
        return "".join(parts)

    def _value(self, field: MergeField) -> str:
        value = self._values.get(field)
        if value is None:
            value = self._values[field] = _escape(self._plain(field), field.context)
        return value

    def _plain(self, field: MergeField) -> str:
        value = self._clean.get(field.name)
        if value is None:
            value = self._clean[field.name] = clean(self._attributes.get(field.name, ""))
        if value and field.filter:
            value = self._filtered(field.filter, value)
        if value:
            return value
        if field.default is None:
            self.empty[field.name] = None
        return field.default or ""

    def _filtered(self, used: str, value: str) -> str:
        if used in FORMATS:
            # It takes a quarter of a second to load, and few templates need it.
            from gatepost.merge_fields.formats import formatted  # noqa: PLC0415

            return formatted(used, value, self._language)
        return with_case(used, value, self._language)


def _escape(value: str, context: Context) -> str:
    if context in {Context.HTML_URL, Context.TEXT_URL}:
        return quote(value, safe="")
    if context is Context.HTML:
        return escape(value)
    if context is Context.SUBJECT:
        # A value must not become an encoded word (RFC 2047), which could hold a line end.
        return value.replace("=?", "= ?")
    return value
