"""The canonical form of email addresses and phone numbers, the only one that leaves a lookup.

An address or a number in this form can't break a header, a URL or a log line.
"""

import re
from functools import lru_cache

from gatepost.errors import ConfigError, Fault

_LONGEST_EMAIL = 254
_LONGEST_PHONE = 40
# RFC 5322's dot-atom in ASCII, of at most 64 characters: the library takes it and leaves it as it is.
_PLAIN_LOCAL = re.compile(
    r"(?=.{1,64}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII
)
# Far enough from every limit on the whole that only the parts need to be judged.
_SHORT_EMAIL = 200
# What people write a number with. Letters, extensions, URIs and other scripts' digits are left out on
# purpose: the library would take them and make something of them.
_PHONE = re.compile(r"\+?[0-9 ()./-]+", re.ASCII)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


def canonical_email(text: str) -> str | None:
    """``local@domain``, the domain in lower-case ASCII (IDNA); None unless it is exactly one address."""
    if len(text) > _LONGEST_EMAIL or not text.isprintable():
        return None
    if "=?" in text:
        return None  # atoms, but a reader of headers may decode them to something else
    local, _, domain = text.partition("@")
    if len(text) <= _SHORT_EMAIL and _PLAIN_LOCAL.fullmatch(local):
        # Nearly all are of this form, and thousands share a domain: a microsecond instead of fifty.
        known = _canonical_domain(domain)
        return known and f"{local}@{known}"
    return _judged(text)


@lru_cache(maxsize=4096)
def _canonical_domain(domain: str) -> str | None:
    judged = _judged(f"x@{domain}")
    return judged and judged.removeprefix("x@")


def _judged(text: str) -> str | None:
    # Late: 70 ms that a command which sends nothing need not spend.
    from email_validator import validate_email  # noqa: PLC0415

    try:
        # The environment for tests is where the reserved domain .test is an address like any other.
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except ValueError:
        return None
    return f"{found.local_part}@{found.ascii_domain}"


def canonical_phone(text: str, region: str) -> str | None:
    """E.164 with its plus sign; None unless it can be one number.

    ``region``, such as GB, is that of numbers without a country code; where it is empty they are refused.
    """
    if len(text) > _LONGEST_PHONE or not _PHONE.fullmatch(text):
        return None
    canonical = _e164(text, region)
    # A few that it takes, such as 000000 in Germany, become what it would itself read as another number.
    return canonical if canonical and _e164(canonical, "") == canonical else None


def _e164(text: str, region: str) -> str | None:
    # Late: 140 ms and 3 MB.
    import phonenumbers  # noqa: PLC0415

    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return None
    # Not is_possible_number(): that is content with one that can be dialled only within its town.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    canonical = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return canonical if _E164.fullmatch(canonical) else None


def check_region(region: str) -> None:
    """Raise ConfigError where the world has no such region for phone numbers."""
    import phonenumbers  # noqa: PLC0415  as above

    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise ConfigError([Fault("contacts.default_region", "is no region; write a country's, such as GB")])
