"""The alphabet of plain text messages, and the number of parts of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.sms_parts import count_parts, encode_parts, is_gsm7

# Code points by the Unicode consortium's table of GSM 03.38, independently of the module's own order.
DEFAULT = [
    *(0x40, 0xA3, 0x24, 0xA5, 0xE8, 0xE9, 0xF9, 0xEC, 0xF2, 0xC7, 0x0A, 0xD8, 0xF8, 0x0D, 0xC5, 0xE5),
    *(0x394, 0x5F, 0x3A6, 0x393, 0x39B, 0x3A9, 0x3A0, 0x3A8, 0x3A3, 0x398, 0x39E, 0xC6, 0xE6, 0xDF, 0xC9),
    *(code for code in range(0x20, 0x40) if code != 0x24),
    *(0xA4, 0xA1, *range(0x41, 0x5B), 0xC4, 0xD6, 0xD1, 0xDC, 0xA7),
    *(0xBF, *range(0x61, 0x7B), 0xE4, 0xF6, 0xF1, 0xFC, 0xE0),
]
EXTENSION = [0x0C, 0x5E, 0x7B, 0x7D, 0x5C, 0x5B, 0x7E, 0x5D, 0x7C, 0x20AC]
GSM7 = [chr(code) for code in DEFAULT + EXTENSION]


def test_gsm7_is_exactly_the_default_table_and_its_extension():
    accepted = {code for code in range(0x3000) if is_gsm7(chr(code))}

    # 127 characters; the escape is not one.
    assert len(set(DEFAULT)) == 127
    assert accepted == {*DEFAULT, *EXTENSION}


@pytest.mark.parametrize("text", ["", "All in, {1} for 5 €\n", "Größe"])
def test_a_text_of_the_alphabet_is_gsm7(text):
    assert is_gsm7(text)


@pytest.mark.parametrize("text", ["`", "ç", "’", "Hello…", "á", "\t", "\x1b", "\xa0", "Hi 👋", "Ώ"])
def test_a_text_with_another_character_is_not_gsm7(text):
    assert not is_gsm7(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("a" * 159 + "€", 2),
        # The 153rd character of the first part would be half of a pair, so that part has only 152.
        ("a" * 152 + "€" + "a" * 152, 3),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("€" * 152, 2),
        ("€" * 153, 3),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        # One other character changes the count of the whole text.
        ("a" * 159 + "ç", 3),
        # The extension counts once in UCS-2.
        ("€" * 69 + "ж", 1),
        ("😀" * 35, 1),
        ("ж" * 69 + "😀", 2),
        ("ж" * 66 + "😀" + "ж" * 66, 3),
        ("ж" * 66 + "😀" + "ж" * 65, 2),
        ("ж" * 66 + "\U00010000" + "ж" * 66, 3),
        ("ж" * 66 + "\U0010ffff" + "ж" * 66, 3),
        ("😀" * 66, 2),
        ("😀" * 67, 3),
        # The escape itself has no place in a text.
        ("\x1b" * 71, 2),
        ("\ud800" * 71, 2),
        ("a" * 1_000_000, 6_536),
        ("ж" * 1_000_000, 14_926),
    ],
)
def test_the_parts_of_known_texts(text, parts):
    assert count_parts(text) == parts


def parts_by_packing(text):
    """Put one character after the other into the part that is open, as a phone does."""
    gsm7 = set(text) <= set(GSM7)
    single, room = (160, 153) if gsm7 else (70, 67)
    if gsm7:
        units = [2 if ord(character) in EXTENSION else 1 for character in text]
    else:
        units = [2 if ord(character) > 0xFFFF else 1 for character in text]
    if sum(units) <= single:
        return 1
    parts, used = 1, 0
    for unit in units:
        if used + unit > room:
            parts, used = parts + 1, 0
        used += unit
    return parts


# Runs of few characters, so that the texts are long enough for several parts.
RUNS = st.lists(st.tuples(st.sampled_from(["a", "é", "€", "[", "ж", "😀"]), st.integers(0, 160)), max_size=8)


@given(RUNS)
def test_a_text_has_the_parts_that_packing_it_gives(runs):
    text = "".join(character * number for character, number in runs)

    assert count_parts(text) == parts_by_packing(text)


@given(st.text(st.sampled_from(GSM7)) | st.text())
def test_any_text_has_the_parts_that_packing_it_gives(text):
    assert count_parts(text) == parts_by_packing(text)


@given(RUNS, st.sampled_from(["a", "€"]))
def test_one_more_character_of_the_alphabet_never_saves_a_part(runs, character):
    text = "".join(character * number for character, number in runs)

    assert count_parts(text) <= count_parts(text + character)


def decode(octets, *, gsm7):
    """Read the octets of a part as a phone does."""
    if not gsm7:
        return octets.decode("utf-16-be")
    table = [code for code in DEFAULT if code != 0xA4]
    # In the place of ASCII's dollar; then the escape.
    table.insert(table.index(0x25), 0xA4)
    table.insert(0x1B, 0x1B)
    extension = dict(zip(b"\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", EXTENSION, strict=True))
    codes = iter(octets)
    return "".join(chr(table[code] if code != 0x1B else extension[next(codes)]) for code in codes)


@given(RUNS | st.lists(st.tuples(st.sampled_from(GSM7), st.integers(0, 3))))
def test_each_part_can_be_read_alone(runs):
    text = "".join(character * number for character, number in runs)
    parts = encode_parts(text)

    assert "".join(decode(part, gsm7=is_gsm7(text)) for part in parts) == text
    assert len(parts) == count_parts(text)
    assert all(len(part) <= (160 if is_gsm7(text) else 140) for part in parts)
