"""The filters that write a date or a number as it is usual in the contact's language.

They need the package babel, which reads what it knows of a language at its first use (10 to 30 ms) and keeps it (0.2 MB).
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


@lru_cache(maxsize=256)
def _locale(language: str) -> Locale:
    match = _LANGUAGE.match(language)
    for name in (match.group(), match.group(1)) if match else ():
        with suppress(UnknownLocaleError, ValueError):
            return Locale.parse(name.replace("_", "-"), sep="-")
    return Locale.parse(FALLBACK)
