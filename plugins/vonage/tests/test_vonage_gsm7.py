"""The alphabet of plain text messages."""

import pytest

from gatepost_vonage.gsm7 import is_gsm7

# Code points by the Unicode consortium's table of GSM 03.38, independently of the module's own order.
DEFAULT = [
    *(0x40, 0xA3, 0x24, 0xA5, 0xE8, 0xE9, 0xF9, 0xEC, 0xF2, 0xC7, 0x0A, 0xD8, 0xF8, 0x0D, 0xC5, 0xE5),
    *(0x394, 0x5F, 0x3A6, 0x393, 0x39B, 0x3A9, 0x3A0, 0x3A8, 0x3A3, 0x398, 0x39E, 0xC6, 0xE6, 0xDF, 0xC9),
    *(code for code in range(0x20, 0x40) if code != 0x24),
    *(0xA4, 0xA1, *range(0x41, 0x5B), 0xC4, 0xD6, 0xD1, 0xDC, 0xA7),
    *(0xBF, *range(0x61, 0x7B), 0xE4, 0xF6, 0xF1, 0xFC, 0xE0),
]
EXTENSION = [0x0C, 0x5E, 0x7B, 0x7D, 0x5C, 0x5B, 0x7E, 0x5D, 0x7C, 0x20AC]


def test_gsm7_is_exactly_the_default_table_and_its_extension():
    accepted = {code for code in range(0x3000) if is_gsm7(chr(code))}

    # 127 characters; the escape is not one.
    assert len(set(DEFAULT)) == 127
    assert accepted == {*DEFAULT, *EXTENSION}


@pytest.mark.parametrize("text", ["", "All in, {1} for 5 €\n", "Größe"])
def test_a_text_of_the_alphabet_is_gsm7(text):
    assert is_gsm7(text)


@pytest.mark.parametrize("text", ["`", "ç", "’", "Hello…", "á", "\t", "\x1b", "\xa0", "Hi 👋", "Ώ"])
def test_a_text_with_another_character_is_not_gsm7(text):
    assert not is_gsm7(text)
