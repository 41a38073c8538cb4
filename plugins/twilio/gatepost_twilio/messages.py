"""The forms of ``POST Messages.json``. Pure functions."""

import re
from collections.abc import Sequence

import msgspec

from gatepost import wire
from gatepost.errors import Rejected
from gatepost.model import Sms
from gatepost_twilio.settings import Settings, sms_sender

MAX_VALIDITY = 36_000
"""Seconds that Twilio keeps a message in its queue at most."""
MAX_LENGTH = 1_600
"""Characters of a text."""

ID_PARAMETER = "id"
"""The parameter of the StatusCallback that holds our id. The signature covers it, so it can be believed."""
RETRIES = "#rc=5&rp=all"
"""Ends a StatusCallback. By default Twilio drops a report that got an error, such as a 503 during a restart; so it tries
again up to five times, within 15 seconds."""

# The codes with which Twilio refuses the same.
_INVALID_SENDER, _TOO_LONG, _INVALID_VARIABLES = "21212", "21617", "21656"
# WhatsApp's rule for a variable of a template.
_NOT_IN_A_VARIABLE = re.compile(r"[\n\r\t]| {5}")


def message_form(message: Sms, settings: Settings, *, webhook_url: str) -> Sequence[tuple[str, str]]:
    """Return the fields of a request; raise Rejected for what the channel can't carry.

    Reports go to ``webhook_url``; if that is empty, where the account says.
    """
    if len(message.text) > MAX_LENGTH:
        raise Rejected(f"the text is longer than the {MAX_LENGTH:,} characters that Twilio takes", code=_TOO_LONG)
    fields = {
        **(_whatsapp if settings.channel == "whatsapp" else _sms)(message, settings),
        "ValidityPeriod": str(max(1, min(int(message.lifetime), MAX_VALIDITY))),
    }
    if settings.messaging_service:
        fields["MessagingServiceSid"] = settings.messaging_service
    if webhook_url:
        fields["StatusCallback"] = f"{webhook_url}?{ID_PARAMETER}={message.id}{RETRIES}"
    return list(fields.items())


def _sms(message: Sms, settings: Settings) -> dict[str, str]:
    fields = {"To": message.recipient.reveal(), "Body": message.text}
    if settings.messaging_service and not (message.sender or settings.default_sender):
        return fields
    sender = sms_sender(wire.sender_of(message, settings.default_sender, code=_INVALID_SENDER))
    if sender is None:
        problem = "it must be a phone number, a short code, or up to 11 letters, digits, spaces and + - _ &"
        raise Rejected(f"Twilio does not accept the sender: {problem}", code=_INVALID_SENDER)
    return {**fields, "From": sender}


def _whatsapp(message: Sms, settings: Settings) -> dict[str, str]:
    if not message.text.strip() or _NOT_IN_A_VARIABLE.search(message.text):
        raise Rejected(
            "WhatsApp does not accept the text as a template's variable: it must not be blank, and have no line break, "
            "no tab and no more than 4 spaces in a row",
            code=_INVALID_VARIABLES,
        )
    try:
        variables = msgspec.json.encode({"1": message.text}).decode()
    except UnicodeEncodeError:
        variables = ""
    if not variables:
        # Raised here, because the encoder's error holds the text.
        raise Rejected("the text is no valid Unicode: it has half a character", code=_INVALID_VARIABLES)
    fields = {
        "To": f"whatsapp:{message.recipient.reveal()}",
        "ContentSid": settings.template,
        "ContentVariables": variables,
    }
    # Smartico's from_number is a sender of text messages.
    if settings.default_sender:
        fields["From"] = f"whatsapp:{sms_sender(settings.default_sender)}"
    return fields
