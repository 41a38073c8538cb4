"""How an address or a number may be written in a contacts file: the spellings that Gatepost reads as the same one."""

import re
from typing import NamedTuple

from gatepost.model import Channel

_PUNCTUATION = b" ()./+-"
"""What stands between the digits of a number; it may be anywhere, so it is left out of both sides of a comparison."""

_NO_DIGITS = re.compile(r"\D+")
_E164 = re.compile(r"\+[0-9]{1,15}")


class Spellings(NamedTuple):
    """All spellings of one address or number, without the differences that ``reduce`` removes."""

    channel: Channel
    whole: frozenset[bytes]
    """The whole field, in each spelling."""
    ends: tuple[bytes, ...]
    """Texts with one of which each of them ends."""


def reduce(channel: Channel, field: bytes) -> bytes:
    """Return a field, or many at once, without what makes no difference: case in addresses, punctuation in numbers."""
    return field.lower() if channel is Channel.EMAIL else field.translate(None, _PUNCTUATION)


def spellings(channel: Channel, recipient: str, region: str) -> Spellings:
    """Return the spellings of a canonical address, or of a number in E.164.

    ``region``, such as GB, is that of numbers without a country code; empty: the file has none of these. Anything else has no spellings.
    """
    found, ends = _of_address(recipient) if channel is Channel.EMAIL else _of_number(recipient, region)
    whole = frozenset(reduce(channel, one.encode()) for one in found)
    # Each end is searched for, which takes a hundredth of a second per million contacts.
    short = {reduce(channel, one.encode()) for one in ends}
    more = {one for one in whole if not any(map(one.endswith, short))}
    return Spellings(channel, whole, (*short, *more))


def _of_address(address: str) -> tuple[set[str], set[str]]:
    """Return the spellings of an address, and ends that many of them share."""
    local, _, domain = address.rpartition("@")
    labels = [
        label[4:].encode().decode("punycode") if label.startswith("xn--") else label
        for label in domain.split(".")
    ]
    found = {address, f"{local}@{'.'.join(labels)}"}
    return found, found


def _of_number(number: str, region: str) -> tuple[set[str], set[str]]:
    """Return the spellings of a number, and ends that many of them share."""
    # Imported here because it takes 140 ms; this runs in a thread.
    import phonenumbers  # noqa: PLC0415

    try:
        parsed = phonenumbers.parse(number if _E164.fullmatch(number) else "")
    except phonenumbers.NumberParseException:
        return set(), set()
    code = str(parsed.country_code)
    significant = phonenumbers.national_significant_number(parsed)
    national = _digits(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL))
    # "+44 (0)20 7946 0000" is a usual mixture.
    found = {code + significant, f"00{code}{significant}", code + national}
    if region:
        found.add(_digits(phonenumbers.format_out_of_country_calling_number(parsed, region)))
        if phonenumbers.country_code_for_region(region) == parsed.country_code:
            found |= {national, significant}
    return found, {significant}


def _digits(text: str) -> str:
    return _NO_DIGITS.sub("", text)
