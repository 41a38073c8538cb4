"""The filling of single templates in tests."""

from gatepost.merge_fields.fields import TemplateError
from gatepost.merge_fields.html import html_template
from gatepost.merge_fields.plain_text import read_subject, read_text
from gatepost.merge_fields.values import Values

NO_LIMIT = 2**40


def read_html(html):
    """Return the template of this HTML, all at once."""
    return at_once(html_template(html))


def at_once(steps):
    """Return the result of work in slices."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


READERS = {"html": read_html, "text": read_text, "subject": read_subject}


def filled(source, kind="text", /, **attributes):
    """Return the source with its merge fields filled with these attributes."""
    return Values(attributes).fill(READERS[kind](source), NO_LIMIT)


def problem(source, kind="html"):
    """Return why this template is refused, and at which character; None where it is not."""
    try:
        READERS[kind](source)
    except TemplateError as error:
        return error.problem, error.position
    return None
