"""The filters that write a date or a number as it is usual in the contact's language.

They need the package babel, which reads what it knows of a language at its first use (10 to 30 ms) and keeps it (up to 0.4 MB).
So only a limited number of languages is used, whatever the contacts name.
"""

import re
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_decimal

FALLBACK = "en"
"""The language of a contact without one, or with one that nobody has a format for."""

_LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]{2,8})*")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.([0-9]{1,6}))?")
MAX_LENGTH = 64
"""Characters of a date or a number at most; what is longer is neither."""

MAX_LOCALES = 100
"""Languages that are used, each with a country or script or without; after these, one that is not among them is not
known."""

_MAX_TAG_LENGTH = 35
"""Characters of a language that are read, as RFC 5646 recommends."""

_DECIMALS = re.compile(r"\.[0#]+|(?=;|$)")


def formatted(used: str, value: str, language: str) -> str:
    """Return the value after the filter date or number; empty where it is neither."""
    if len(value) > MAX_LENGTH:
        return ""
    return _date(value, language) if used == "date" else _number(value, language)


def _date(value: str, language: str) -> str:
    """Return an ISO 8601 date, or the date of an ISO 8601 time as it is written there."""
    with suppress(ValueError):
        return format_date(datetime.fromisoformat(value).date(), "long", _locale(language))
    return ""


def _number(value: str, language: str) -> str:
    """Return a number with as many decimals as it came with."""
    match = _NUMBER.fullmatch(value)
    if not match:
        return ""
    locale = _locale(language)
    decimals = f".{'0' * len(match.group(1))}" if match.group(1) else ""
    pattern = _DECIMALS.sub(decimals, locale.decimal_formats[None].pattern, count=1)
    return format_decimal(Decimal(value), pattern, locale)


_used: set[str] = set()
"""The names of the locales that babel has read."""


def _locale(language: str) -> Locale:
    return _find_locale(language[:_MAX_TAG_LENGTH])


@lru_cache(maxsize=256)
def _find_locale(language: str) -> Locale:
    match = _LANGUAGE.match(language)
    for name in (match.group(), match.group(1)) if match else ():
        with suppress(UnknownLocaleError, ValueError):
            locale = Locale.parse(name.replace("_", "-"), sep="-")
            if len(_used) < MAX_LOCALES:
                _used.add(str(locale))
            if str(locale) in _used:
                return locale
    return Locale.parse(FALLBACK)
