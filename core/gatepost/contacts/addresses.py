"""The canonical form of email addresses and phone numbers.

A canonical address or number can't break a header, a URL or a log line. A contact lookup returns no other form.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from gatepost.errors import ConfigError, Fault

if TYPE_CHECKING:
    from email_validator import ValidatedEmail

_MAX_EMAIL_LENGTH = 254
_MAX_PHONE_LENGTH = 40
# The dot-atom of RFC 5322 in ASCII, of at most 64 characters: email_validator accepts it and does not change it.
_PLAIN_LOCAL = re.compile(
    r"(?=.{1,64}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII
)
# Characters. Far enough below every limit on the whole address that only its parts need to be checked.
_SHORT_EMAIL_LENGTH = 200
# The characters that people write a number with. Letters, extensions, URIs and digits of other scripts are left
# out on purpose: phonenumbers would accept them and convert them to some number.
_PHONE = re.compile(r"\+?[0-9 ()./-]+", re.ASCII)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


def canonical_email(text: str) -> str | None:
    """Return a recipient's address as ``local@domain``, the domain in lower-case ASCII (IDNA).

    Returns None unless the text is exactly one address.
    """
    if len(text) > _MAX_EMAIL_LENGTH or not text.isprintable():
        return None
    local, _, domain = text.partition("@")
    if len(text) <= _SHORT_EMAIL_LENGTH and "=?" not in text and _PLAIN_LOCAL.fullmatch(local):
        # Nearly all addresses have this form, and thousands share a domain: a microsecond instead of fifty.
        canonical = _canonical_domain(domain)
        return canonical and f"{local}@{canonical}"
    valid = _validate(text)
    return f"{valid.local_part}@{valid.ascii_domain}" if valid else None


def canonical_sender(text: str) -> str | None:
    """Return a sender's address, with its domain in lower-case ASCII; None when it can't be used as a sender.

    Its local part has to be ASCII and at most 64 characters long. Unlike the domain of a recipient, its domain may
    be one that only the operator's network knows.
    """
    valid = _validate(text, strict=True, globally_deliverable=False)
    return valid.ascii_email if valid else None


@lru_cache(maxsize=4096)
def _canonical_domain(domain: str) -> str | None:
    valid = _validate(f"x@{domain}")
    return valid.ascii_domain if valid else None


def _validate(
    text: str, *, strict: bool = False, globally_deliverable: bool = True
) -> "ValidatedEmail | None":
    """Return the address as email_validator reads it, without a DNS query; None unless it is exactly one."""
    # Imported here because it takes 70 ms, which commands that send nothing need not spend.
    from email_validator import validate_email  # noqa: PLC0415

    if "=?" in text:
        return None  # valid, but a reader of headers may decode it to another address
    try:
        # With test_environment the reserved domain .test is accepted like any other.
        return validate_email(
            text,
            strict=strict,
            globally_deliverable=globally_deliverable,
            check_deliverability=False,
            test_environment=True,
        )
    except ValueError:
        return None


def canonical_phone(text: str, region: str) -> str | None:
    """Return the number in E.164 with its plus sign; None unless the text can be exactly one number.

    ``region``, such as GB, is the region of numbers without a country code; where it is empty, these are refused.
    """
    if len(text) > _MAX_PHONE_LENGTH or not _PHONE.fullmatch(text):
        return None
    canonical = _e164(text, region)
    # A few texts, such as 000000 in Germany, become a number that phonenumbers itself reads as another one.
    return canonical if canonical and _e164(canonical, "") == canonical else None


def email_problem(text: str) -> str:
    """Return why ``canonical_email`` returns None for a text, in words that quote nothing of it."""
    if len(text) > _MAX_EMAIL_LENGTH:
        return f"has more than {_MAX_EMAIL_LENGTH} characters"
    if not text.isprintable():
        return "has a control character, such as a line break"
    if text != text.strip():
        return "begins or ends with a space"
    return "is not exactly one address such as name@example.com"


def phone_problem(text: str, region: str) -> str:
    """Return why ``canonical_phone`` returns None for a text, in words that quote nothing of it."""
    if len(text) > _MAX_PHONE_LENGTH:
        return f"has more than {_MAX_PHONE_LENGTH} characters"
    if not _PHONE.fullmatch(text):
        return "is not exactly one number: it has other characters than digits, spaces and + ( ) . / -"
    if not region and not text.startswith("+"):
        return "has no country code, and contacts.default_region is not set"
    return f"is not a possible phone number{f' of {region}' if region else ''}"


def _e164(text: str, region: str) -> str | None:
    # Imported here because it takes 140 ms and 3 MB.
    import phonenumbers  # noqa: PLC0415

    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return None
    # Not is_possible_number(): that also accepts a number that can be dialled only within its town.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    canonical = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return canonical if _E164.fullmatch(canonical) else None


def check_region(region: str) -> None:
    """Raise ConfigError unless phonenumbers knows the region."""
    import phonenumbers  # noqa: PLC0415  see _e164

    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise ConfigError(
            [Fault("contacts.default_region", "is not the code of a country: use one such as GB")]
        )
