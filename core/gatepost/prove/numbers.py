"""Phone numbers that belong to nobody: those that a country has set aside for films and books, else impossible ones."""

import secrets
from collections.abc import Mapping

from gatepost.contacts.addresses import canonical_phone
from gatepost.routing.countries import calling_code, country_of

FICTION: Mapping[str, tuple[str, int]] = {
    "AU": ("+6149157015", 1),  # ACMA: 0491 570 156 to 159; see _LAST_DIGITS
    "CA": ("+161355501", 2),  # NANP: 555-0100 to 555-0199
    "DE": ("+4917139200", 2),  # Bundesnetzagentur: 0171 39200 00 to 99
    "FR": ("+3363998", 4),  # Arcep: 06 39 98 00 00 to 99 99
    "GB": ("+447700900", 3),  # Ofcom: 07700 900000 to 900999
    "US": ("+121255501", 2),  # NANP
}
"""The numbers for fiction of a country: how they begin, and how many digits follow."""

_LAST_DIGITS = {"AU": "6789"}

_DIGITS = "012345678"
"""No 9: an emulated provider may fail on purpose for numbers with certain endings, from 91 on."""

_TRIES = 400


def number_for(country: str, prefixes: tuple[str, ...] = ()) -> str:
    """Return a random number in E.164 that belongs to nobody and has this country and one of these beginnings.

    ``country`` may be empty: any. Returns an empty text where there is none, because every number there may be somebody's.
    """
    for prefix in prefixes or ("",):
        for name, (beginning, digits) in FICTION.items():
            fits = beginning.startswith(prefix) and country in {"", name}
            if fits and (country or prefix or name == "GB"):
                return _fictional(name, beginning, digits)
        number = _impossible(country, prefix)
        if number:
            return number
    return ""


def code_of(number: str) -> str:
    """Return the digits of the calling code with which a number begins."""
    country = country_of(number)
    return calling_code(country) if country else ""


def _fictional(country: str, beginning: str, digits: int) -> str:
    choice = _LAST_DIGITS.get(country, _DIGITS)
    return beginning + "".join(secrets.choice(choice) for _ in range(digits))


def _impossible(country: str, prefix: str) -> str:
    """Return a number that has the right length and fits no numbering plan, so that nobody can have it."""
    import phonenumbers  # noqa: PLC0415  it takes 140 ms

    example = phonenumbers.example_number(country) if country else None
    length = len(str(example.national_number)) if example else 9
    beginning = prefix if len(prefix) > 1 else ""
    code = calling_code(country) if country else ""
    if not beginning.startswith(f"+{code}"):
        beginning = f"+{code}"
    length += len(code) + 1 if code else 3
    for _ in range(_TRIES):
        rest = max(length - len(beginning), 3)
        number = beginning + "".join(secrets.choice(_DIGITS) for _ in range(rest))
        if canonical_phone(number, "") != number or phonenumbers.is_valid_number(phonenumbers.parse(number)):
            continue
        if country in {"", country_of(number)}:
            return number
    return ""
