"""Whether a text holds the whole of a private value, in whatever spelling, and however short the text is."""

import base64
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from gatepost.model import Secret
from gatepost.observe.redaction import contains

_words = st.text("abcdefghijklmnopqrstuvwxyz0123456789.+-", min_size=3, max_size=12).filter(
    lambda word: sum(map(str.isalnum, word)) >= 3
)
_addresses = st.builds(lambda local, domain: f"{local}@{domain}.example", _words, _words)
_numbers = st.integers(10**8, 10**14).map(lambda digits: f"+{digits}")
_edges = st.sampled_from(["", "x.", "ID-", "é", "/"])

SPELLINGS = [
    lambda value: value,
    lambda value: value[::-1],
    str.upper,
    lambda value: value.encode().hex(),
    lambda value: value.encode().hex().upper(),
    lambda value: value.encode("utf-16-le").hex(),
    lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    lambda value: "".join(f"\\u{ord(letter):04x}" for letter in value),
    lambda value: quote(value, safe=""),
    lambda value: json.dumps({"id": value}),
    lambda value: base64.b64encode(value.encode()).decode(),
    lambda value: base64.urlsafe_b64encode(b"id" + value.encode() + b"of").decode(),
    lambda value: base64.b32encode(value.encode()).decode(),
    lambda value: value.replace("@", " at ").replace(".", " dot "),
]


@given(st.one_of(_addresses, _numbers), st.sampled_from(SPELLINGS), _edges, _edges)
def test_a_value_is_found_in_every_spelling(value, spell, before, after):
    assert contains(f"{before}{spell(value)}{after}", Secret(value))


@given(_addresses, st.integers(1, 6))
def test_a_part_of_a_value_is_not_the_whole(value, missing):
    assert not contains(value[:-missing], Secret(value))


def test_one_character_may_stand_for_several_letters():
    assert contains("\N{ROMAN NUMERAL EIGHT}@x.io", Secret("viii@x.io"))
