"""Phone numbers and senders in the form that each channel of the Messages API accepts. Pure functions."""

import re
from collections.abc import Mapping
from typing import Literal

Channel = Literal["sms", "viber", "whatsapp"]

SENDER_FORMS: Mapping[Channel, str] = {
    "sms": "up to 11 of the characters A-Z a-z 0-9, or up to 15 digits",
    "viber": "the Viber sender id that Vonage gave you: 1 to 50 characters, without spaces at the ends",
    "whatsapp": "the WhatsApp Business number of your account: 7 to 15 digits, the first not 0",
}

_NUMBER = re.compile(r"[1-9][0-9]{6,14}")
_SMS_SENDER = re.compile(r"[0-9]{1,15}|[A-Za-z0-9]{1,11}")
_MAX_VIBER_SENDER = 50  # characters, as in the SDK's model


def phone_number(number: str) -> str | None:
    """Return an E.164 number without its plus sign, or None if Vonage would refuse it."""
    digits = number.removeprefix("+")
    return digits if _NUMBER.fullmatch(digits) else None


def sender_id(sender: str, channel: Channel) -> str | None:
    """Return the sender as Vonage expects it; None if Vonage would refuse it on this channel.

    A number loses its plus sign. Some countries refuse text messages from senders with letters; only Vonage knows
    which.
    """
    match channel:
        case "sms":
            return _sms_sender(sender)
        case "viber":
            fits = len(sender) <= _MAX_VIBER_SENDER and sender.isprintable() and sender == sender.strip()
            return sender if sender and fits else None
        case "whatsapp":
            return phone_number(sender)


def _sms_sender(sender: str) -> str | None:
    digits = sender.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        sender = digits
    return sender if _SMS_SENDER.fullmatch(sender) else None
