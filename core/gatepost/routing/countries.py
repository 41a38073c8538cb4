"""The country of a phone number, and the countries that numbers with a given beginning can have.

A number has the country that phonenumbers finds for it. Several countries may share a calling code, and a number there
may fit none of their numbering plans, as +447700900123 does: such a number has the main country of its calling code,
here GB. So every number has one country at most, and a rule for GG does not take what may be a number of GB.
"""

from collections.abc import Mapping
from functools import cache

UNKNOWN = ""
"""The country of a number that belongs to none, such as a satellite phone's."""

_NO_COUNTRY = "001"
"""The region that phonenumbers has for calling codes of no country."""


def country_of(number: str) -> str:
    """Return the country (ISO 3166-1, such as GB) of a number in E.164; UNKNOWN where there is none.

    Takes about a microsecond where one country has the calling code, and up to 60 where several share it.
    """
    # Imported here, like everywhere: it takes 140 ms and 3 MB.
    import phonenumbers  # noqa: PLC0415

    digits = number.removeprefix("+")
    codes = _calling_codes()
    code = next((digits[:length] for length in (1, 2, 3) if digits[:length] in codes), "")
    countries = codes.get(code, ())
    if len(countries) < 2:
        return countries[0] if countries else UNKNOWN
    national = digits[len(code) :]
    # What phonenumbers.parse() would return, which takes as long again.
    significant = national.lstrip("0")
    parsed = phonenumbers.PhoneNumber(
        country_code=int(code),
        national_number=int(national or "0"),
        italian_leading_zero=len(significant) < len(national) or None,
        number_of_leading_zeros=len(national) - len(significant) if national.startswith("00") else None,
    )
    return phonenumbers.region_code_for_number(parsed) or countries[0]


def is_country(text: str) -> bool:
    """Return whether this is the code of a country that numbers can have."""
    return bool(calling_code(text))


@cache
def calling_code(country: str) -> str:
    """Return the digits of a country's calling code; empty for an unknown country."""
    import phonenumbers  # noqa: PLC0415  see above

    return str(phonenumbers.country_code_for_region(country) or "")


@cache
def countries_with_prefix(prefix: str) -> frozenset[str]:
    """Return every country that a number with this beginning may have, UNKNOWN included; empty: no number has it."""
    found = (
        countries or (UNKNOWN,)
        for code, countries in _calling_codes().items()
        if f"+{code}".startswith(prefix) or prefix.startswith(f"+{code}")
    )
    return frozenset(country for countries in found for country in countries)


@cache
def _calling_codes() -> Mapping[str, tuple[str, ...]]:
    """Return the countries of each calling code, the main one first. No code is the beginning of another."""
    import phonenumbers  # noqa: PLC0415  see above

    return {
        str(code): () if countries == (_NO_COUNTRY,) else countries
        for code, countries in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
    }
