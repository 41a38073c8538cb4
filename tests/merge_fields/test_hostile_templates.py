"""Templates that were written to be slow: the time to read and fill them is linear in their length."""

import gc
import itertools
import statistics
import time
from contextlib import suppress

import pytest

from gatepost.merge_fields import fields, html
from gatepost.merge_fields.fields import TemplateError
from gatepost.merge_fields.values import Values
from merge_fields.filling import NO_LIMIT, READERS

LENGTH = 262_144
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


def cpu(kind, source):
    begun = time.thread_time()
    with suppress(TemplateError):
        Values({"x": "<é>" * 5}).fill(READERS[kind](source), NO_LIMIT)
    return time.thread_time() - begun


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
    """Twice the length takes about twice as long; with quadratic steps it would take four times."""
    single, double = (long_template(name, fragment, length) for length in (LENGTH // 2, LENGTH))
    ratios = []
    for number in itertools.count(1):
        before, both, after = cpu(kind, single), cpu(kind, double), cpu(kind, single)
        # What takes less than a tenth of a millisecond can't be measured, and is refused at its first character.
        if both < 0.0001:
            return
        ratios.append(both / (before + after))
        if number >= 3 and statistics.median(ratios) < 1.25:
            return
        if number == 25:
            pytest.fail(f"twice the length takes {2 * statistics.median(ratios):.1f} times as long")
