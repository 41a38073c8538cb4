"""Phone numbers and sender ids in the form that the Messages API accepts. Pure functions."""

import re

SENDER_FORM = "up to 11 of the characters A-Z a-z 0-9, or up to 15 digits"

_RECIPIENT = re.compile(r"[1-9][0-9]{6,14}")
_SENDER = re.compile(r"[0-9]{1,15}|[A-Za-z0-9]{1,11}")


def recipient_number(number: str) -> str | None:
    """Return an E.164 number without its plus sign, or None if Vonage would refuse it."""
    digits = number.removeprefix("+")
    return digits if _RECIPIENT.fullmatch(digits) else None


def sender_id(sender: str) -> str | None:
    """Return the sender, a number without its plus sign; None if Vonage would refuse it.

    Some countries refuse senders with letters; only Vonage knows which.
    """
    digits = sender.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        sender = digits
    return sender if _SENDER.fullmatch(sender) else None
