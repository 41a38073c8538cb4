"""Templates that were written to be slow: the time to read and fill them is linear in their length."""

import gc
from contextlib import suppress

import pytest

from gatepost.merge_fields import fields, html
from gatepost.merge_fields.fields import TemplateError
from gatepost.merge_fields.values import Values
from linear_time import check_linear
from merge_fields.filling import NO_LIMIT, READERS

F = "{{contact.x}}"

HTML = {
    "fields": F,
    "fields with defaults": "{{contact.x:upper|there}} ",
    "fields without an end": "{{contact.x ",
    "fields without a name": "{{contact.}}",
    "braces": "{{",
    "braces and blanks": "{{ " + " " * 30,
    "words of fields": "{{contact",
    "a long default": "d",
    "tags": "<b>",
    "less than": "<",
    "ampersands": "&",
    "letters of a reference": "&a",
    "closing tags": "</",
    "comments": "<!-->",
    "long comment": "<!--",
    "fields in attributes": f"<i title='{F}'>",
    "fields in one attribute": F,
    "attributes": "<i " + "a='b' " * 50 + ">",
    "names of attributes": "a ",
    "equals signs": " = ",
    "quotes": "='",
    "fields in URLs": f"<a href='https://a.example/{F}/{F}'>",
    "scripts": "<script></script>",
    "references": "&lt;",
}
BEFORE = {
    "a long default": F + "{{contact.x|",
    "less than": "<i " + F,
    "fields in one attribute": "<i title='",
    "names of attributes": "<i ",
    "equals signs": "<i ",
    "quotes": "<i a",
}
AFTER = {
    "a long default": "}}",
    "fields in one attribute": "'>",
    "names of attributes": f"title='{F}'>",
    "equals signs": ">",
}
TEXTS = {
    "fields": F,
    "blanks and fields": "  " + F,
    "a long word": "x",
    "URLs": "https://a.example/",
    "fields in a URL": f"/{F}",
    "slashes": "://",
    "braces": "{",
    "words": "word ",
}


def long_template(name, fragment, length):
    before, after = BEFORE.get(name, F), AFTER.get(name, F)
    return before + fragment * (max(1, (length - len(before) - len(after)) // len(fragment))) + after


@pytest.fixture(autouse=True)
def unlimited(monkeypatch):
    """Measure also what is refused because it is too much; and keep the garbage of other tests out of it."""
    monkeypatch.setattr(html, "MAX_MARKUP", NO_LIMIT)
    monkeypatch.setattr(html, "MAX_ATTRIBUTES", NO_LIMIT)
    monkeypatch.setattr(fields, "MAX_FIELDS", NO_LIMIT)
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("kind", "name", "fragment"),
    [("html", *one) for one in HTML.items()] + [("text", *one) for one in TEXTS.items()],
)
def test_the_time_is_linear_in_the_length(kind, name, fragment):

    def read_and_fill(source):
        with suppress(TemplateError):
            Values({"x": "<é>" * 5}).fill(READERS[kind](source), NO_LIMIT)

    check_linear(read_and_fill, lambda length: long_template(name, fragment, length))
