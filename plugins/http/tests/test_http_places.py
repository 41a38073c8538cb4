"""The places of a value: pointers, fields of forms, parameters of queries."""

import pytest

from gatepost_http.places import Place, Sources, parse_place, read


@pytest.mark.parametrize("text", ["", "foo", "form:", "query:", "header:x", "Form:x", ":x", "cookie:a"])
def test_other_texts_are_no_places(text):
    with pytest.raises(ValueError, match="must be a JSON pointer such as"):
        parse_place(text)


def test_a_name_may_hold_anything():
    assert parse_place("form:a/b:c ") == Place("form", ("a/b:c ",))
    assert parse_place("/form:a") == Place("json", ("form:a",))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 255, "x" * 255),
        ("x" * 256, ""),
        (17, "17"),
        (True, "true"),
        (False, "false"),
        (1_789_234_567_890_123_456_789, "1789234567890123456789"),
        (-7, "-7"),
        (10**40, ""),
        (1.5, ""),
        (None, ""),
        ([1], ""),
        ({"a": 1}, ""),
    ],
)
def test_a_value_is_read_as_a_text(value, text):
    assert read(parse_place("/a"), Sources(json={"a": value})) == text


def test_a_place_that_is_not_set_has_no_value():
    assert read(None, Sources(json={"": 1})) == ""
