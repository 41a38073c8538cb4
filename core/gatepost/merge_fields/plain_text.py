"""The merge fields of plain text: a subject, a text part, or a text message."""

from gatepost.merge_fields.fields import Context, Pieces, Template, find_fields, read_field


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
        is_url = _ends_in_url(source[pieces.at : found.start], is_url)
        field = read_field(found.inside, in_url if is_url else in_text, found.start)
        pieces.add(found.start, found.end, field)
    return pieces.template()


def _ends_in_url(literal: str, before: bool) -> bool:
    """Return whether a text ends inside a URL; ``before``: whether it begins inside one."""
    if not literal:
        return before
    if literal[-1].isspace():
        return False
    words = literal.rsplit(None, 1)
    is_one_word = len(words) == 1 and not literal[0].isspace()
    return "://" in words[-1] or (before and is_one_word)
