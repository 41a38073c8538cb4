"""Pointers into JSON, as RFC 6901 has them."""

import pytest

from gatepost import wire

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
    assert wire.resolve(DOCUMENT, wire.parse_pointer(pointer)) == value


@pytest.mark.parametrize("text", ["foo", "/~", "/~2", "/a~", "#/foo", " /foo"])
def test_other_texts_are_no_pointers(text):
    with pytest.raises(ValueError, match="must be a JSON pointer"):
        wire.parse_pointer(text)


def test_nothing_can_be_told_from_null():
    nothing = object()
    assert wire.resolve({"a": None}, ("a",), nothing) is None
    assert wire.resolve({"a": None}, ("b",), nothing) is nothing
    assert wire.resolve({"a": None}, ("a", "b"), nothing) is nothing
