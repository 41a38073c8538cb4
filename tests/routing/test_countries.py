"""The country of a number is the one that phonenumbers finds, and else the main one of its calling code."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.contacts.addresses import canonical_phone
from gatepost.routing.countries import calling_code, countries_with_prefix, country_of

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+447400123456", "GB"),
        ("+447781123456", "GG"),
        ("+447700900123", "GB"),
        ("+4915123456789", "DE"),
        ("+390669812345", "VA"),
        ("+390612345678", "IT"),
        ("+77011234567", "KZ"),
        ("+79161234567", "RU"),
        ("+18765551234", "JM"),
        ("+883510012345", ""),
        ("+9991234567", ""),
    ],
)
def test_a_number_has_one_country_at_most(number, country):
    assert country_of(number) == country


def region(number: str) -> str:
    """Return the country by phonenumbers' own functions."""
    parsed = phonenumbers.parse(number)
    found = phonenumbers.region_code_for_number(parsed)
    found = found or phonenumbers.region_code_for_country_code(parsed.country_code)
    return "" if found == "001" else found


@given(st.sampled_from(CODES), st.text("0123456789", min_size=4, max_size=12))
def test_the_country_of_a_canonical_number_is_that_of_phonenumbers(code, digits):
    number = canonical_phone(f"+{code}{digits}", "")

    if number is not None:
        assert country_of(number) == region(number)
        assert country_of(number) in countries_with_prefix(number[:8])


@pytest.mark.parametrize(
    ("prefix", "countries"),
    [
        ("+49", {"DE"}),
        ("+4915", {"DE"}),
        ("+44", {"GB", "GG", "IM", "JE"}),
        ("+4477", {"GB", "GG", "IM", "JE"}),
        ("+35", {"AL", "AX", "BG", "CY", "FI", "GI", "IE", "LU", "MT", "PT", "IS"}),
        ("+883", {""}),
        ("+999", set()),
        ("+0", set()),
    ],
)
def test_a_prefix_leaves_the_countries_of_its_calling_codes(prefix, countries):
    assert countries_with_prefix(prefix) == countries


def test_a_country_has_one_calling_code():
    assert [calling_code(country) for country in ("GB", "GG", "US", "uk", "UK", "001", "")] == [
        "44",
        "44",
        "1",
        "",
        "",
        "",
        "",
    ]
