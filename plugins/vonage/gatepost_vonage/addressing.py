"""Numbers and sender ids in the form that the Messages API takes them in."""

import re

SENDER_FORM = "up to 11 of the characters A-Z a-z 0-9, or up to 15 digits"

_RECIPIENT = re.compile(r"[1-9][0-9]{6,14}")
_SENDER = re.compile(r"[0-9]{1,15}|[A-Za-z0-9]{1,11}")


def recipient_number(number: str) -> str | None:
    """``number`` (E.164, with its plus sign) as Vonage takes it: digits only; None where it would not."""
    digits = number.removeprefix("+")
    return digits if _RECIPIENT.fullmatch(digits) else None


def sender_id(sender: str) -> str | None:
    """``sender`` as Vonage takes it; None where it would not.

    A number loses its plus sign. Letters are not taken by every country; only Vonage knows.
    """
    digits = sender.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        sender = digits
    return sender if _SENDER.fullmatch(sender) else None
