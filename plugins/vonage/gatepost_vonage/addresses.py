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
_NUMBER = re.compile(r"\+?[1-9][0-9]{6,14}")
_SENDERS: Mapping[Channel, re.Pattern[str]] = {
    "sms": re.compile(r"\+?[0-9]{1,15}|[A-Za-z0-9]{1,11}"),
    "viber": re.compile(r"(?! ).{1,50}(?<! )"),
    "whatsapp": _NUMBER,
}


def phone_number(number: str) -> str | None:
    """Return an E.164 number without its plus sign, or None if Vonage would refuse it."""
    return number.removeprefix("+") if _NUMBER.fullmatch(number) else None


def sender_id(sender: str, channel: Channel) -> str | None:
    """Return the sender as Vonage expects it, a number without its plus sign; None if Vonage would refuse it."""
    if not (sender.isprintable() and _SENDERS[channel].fullmatch(sender)):
        return None
    return sender if channel == "viber" else sender.removeprefix("+")
