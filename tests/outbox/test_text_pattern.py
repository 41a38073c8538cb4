"""Text patterns: what they match, and that no text makes them slow."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.outbox.text_pattern import MAX_PATTERN, TextPattern


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("Spring sale", "Spring sale", True),
        ("spring SALE", "Spring sale", True),
        ("Spring sale", "Spring sale!", False),
        ("Spring*", "Spring sale", True),
        ("*sale", "Spring sale", True),
        ("*sale", "Spring sales", False),
        ("*pri*sa*", "Spring sale", True),
        ("*sa*pri*", "Spring sale", False),
        ("aba*aba", "aba", False),
        ("aba*aba", "ababa", False),
        ("aba*aba", "abaaba", True),
        ("*a*a*", "a", False),
        ("*a*a*", "aba", True),
        ("**", "", True),
        ("", "", True),
        ("", "x", False),
        # Every letter but * stands for itself.
        ("Forgot it?", "Forgot it!", False),
        ("[VIP] *", "[VIP] only for you", True),
        (".*", "anything", False),
        ("STRASSE*", "Straße 1", True),
        ("a*\nb", "a\n\nb", True),
    ],
)
def test_a_pattern_matches_the_whole_text(pattern, text, expected):
    assert TextPattern(pattern).matches(text) is expected


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_star_means_what_it_means_in_file_names(pattern, text):
    assert TextPattern(pattern).matches(text) == bool(re.match(fnmatch.translate(pattern), text))


class CountingText(str):
    """A text that counts how many of its letters are searched."""

    __slots__ = ("searched",)

    def __new__(cls, text):
        new = super().__new__(cls, text)
        new.searched = 0
        return new

    def casefold(self):
        return self

    def find(self, part, start):
        found = super().find(part, start)
        self.searched += (len(self) if found < 0 else found + len(part)) - start
        return found


def test_no_letter_of_a_text_is_searched_twice():
    text = CountingText("a" * 1_000_000)

    assert not TextPattern("*a" * (MAX_PATTERN // 2 - 1) + "*b").matches(text)
    assert not TextPattern("*ab" * (MAX_PATTERN // 3)).matches(text)

    assert text.searched <= 2 * len(text)
