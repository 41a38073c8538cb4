"""Pointers as RFC 6901 has them, and the other places of a value."""

import pytest

from gatepost_http.places import Place, Sources, parse_place, parse_pointer, read, resolve

# The examples of RFC 6901, section 5.
DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
    "~1": 9,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
        ("/~01", 9),
        # Nothing is there.
        ("/foo/2", None),
        ("/foo/-", None),
        ("/foo/-1", None),
        ("/foo/00", None),
        ("/foo/²", None),
        ("/foo/9999999999999999999999", None),
        ("/foo/0/b", None),
        ("/bar", None),
    ],
)
def test_a_pointer_leads_to_a_value_or_nowhere(pointer, value):
    assert resolve(DOCUMENT, parse_pointer(pointer)) == value


@pytest.mark.parametrize("text", ["foo", "/~", "/~2", "/a~", "#/foo", " /foo"])
def test_other_texts_are_no_pointers(text):
    with pytest.raises(ValueError, match="must be a JSON pointer"):
        parse_pointer(text)


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
