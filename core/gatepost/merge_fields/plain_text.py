"""The merge fields of plain text: a subject, a text part, or a text message."""

import re
import string

from gatepost.merge_fields.fields import (
    Context,
    Pieces,
    Template,
    TemplateError,
    find_fields,
    read_field,
)

_URL_CHARACTERS = "".join({*string.ascii_letters, *string.digits, *string.punctuation} - {*'<>"'})
_HOST = re.compile(r"[^/?#\\]++[/?#]")
# With letters of any script in the host alone: behind it they may be the next word.
_IN_OTHER_SCRIPT = re.compile(rf"[\w.:@-]++(?:[/?#][{re.escape(_URL_CHARACTERS)}]*+)?+")


def read_text(source: str) -> Template:
    """Read a text part or a text message; raise TemplateError."""
    return _read(source, Context.TEXT, Context.TEXT_URL)


def read_subject(source: str) -> Template:
    """Read a subject; raise TemplateError."""
    return _read(source, Context.SUBJECT, Context.SUBJECT)


def _read(source: str, in_text: Context, in_url: Context) -> Template:
    pieces = Pieces(source)
    is_url = False
    for found in find_fields(source, 0, len(source)):
        is_url = _is_in_url(source[pieces.at : found.start], is_url, found.start)
        field = read_field(found.inside, in_url if is_url else in_text, found.start)
        pieces.add(found.start, found.end, field)
    return pieces.template()


def _is_in_url(literal: str, before: bool, position: int) -> bool:
    """Return whether a text ends inside a URL; ``before``: whether it begins inside one.

    Raises TemplateError where the URL's host does not end before the field at this position.
    """
    # Not by white space: some languages write without it.
    tail = literal[len(literal.rstrip(_URL_CHARACTERS)) :]
    if tail.endswith((")", ",")):
        return False
    _, has_scheme, rest = tail.partition("://")
    if not has_scheme:
        if tail == literal:
            return before
        _, has_scheme, rest = literal.rpartition("://")
        if not has_scheme or not _IN_OTHER_SCRIPT.fullmatch(rest):
            return False
    if not _HOST.match(rest):
        raise TemplateError("a merge field may stand in a URL only after https://HOST/", position)
    return True
