"""The text of hostile HTML: not longer than the HTML, clean, and converted in linear time."""

import gc
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from delivery.html_text.cases import CASES, FRAGMENTS, MIXED, NAMES
from delivery.html_text.text import text_of
from gatepost.delivery.html_text import SLICE_LENGTH, HtmlTooLarge, conversion
from linear_time import check_linear

NO_LIMIT = 2**40
ALLOWANCE = 64
"""Characters by which a text may be longer than its HTML."""

UNCLEAN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def whole(html):
    return text_of(html, max_length=NO_LIMIT, max_markup=NO_LIMIT)


def check(html):
    text = whole(html)
    assert len(text) <= len(html) + ALLOWANCE
    assert not UNCLEAN.search(text)
    assert text == text.strip("\n")
    assert not any(line.endswith((" ", "\t")) for line in text.split("\n"))
    return text


@pytest.fixture
def no_collector():
    """Keep the garbage of other tests out of the measured time."""
    gc.disable()
    yield
    gc.enable()


def test_there_are_at_least_200_cases():
    assert len(CASES) >= 200


@pytest.mark.parametrize("name", CASES)
def test_the_time_is_linear_in_the_length(name, no_collector):
    check(check_linear(whole, CASES[name]))


def test_the_text_of_short_fragments_is_clean_and_bounded():
    for html in ("", *FRAGMENTS, *MIXED):
        check(html)
        check(f"a<table><tr><td>b{html}</td><td>c</td></tr></table>d")


pieces = st.one_of(
    st.sampled_from(FRAGMENTS),
    st.sampled_from([f"<{name}>" for name in NAMES] + [f"</{name}>" for name in NAMES]),
    st.text(max_size=8),
)


@given(st.lists(pieces, max_size=40).map("".join))
@example("<ol start=999999><li>" * 3)
@example("<ul><ul><ul><ul><ul><li>x<li>y<li>z")
def test_the_text_of_any_html_is_clean_and_bounded(html):
    check(html)


@given(st.lists(pieces, max_size=20).map("".join), st.sampled_from(["{{a.b|there}}", "{{unsubscribe_url}}"]))
def test_merge_fields_stay_unchanged(html, field):
    safe = re.sub("[<&]", "", html)
    assert field in whole(f"<p>{safe} {field} <b>{safe}</b></p>")
    assert f"({field})" in whole(f"<p>{safe}<a href='{field}'>here</a></p>")


@pytest.mark.parametrize(
    "name", ["nested div", "many 'x '", "many '&amp;'", "many '<!-->'", "many references"]
)
def test_the_conversion_yields_after_each_slice(name):
    html = CASES[name](20 * SLICE_LENGTH)
    assert sum(1 for _ in conversion(html, max_markup=NO_LIMIT)) >= 15


def test_too_large_html_is_not_converted():
    with pytest.raises(HtmlTooLarge):
        text_of("x" * 2_000_000)
    with pytest.raises(HtmlTooLarge):
        text_of("<b>" * 30_000)
    with pytest.raises(HtmlTooLarge):
        text_of("&lt;" * 30_000)
    with pytest.raises(HtmlTooLarge):
        text_of("<!-->" * 30_000)
    assert text_of("<p>A word.</p>" * 9_000).count("A word.") == 9_000
