"""The forms of ``POST Messages.json``. Pure functions."""

import json
import re
from collections.abc import Sequence

from gatepost import wire
from gatepost.errors import Rejected
from gatepost.model import Sms
from gatepost_twilio.settings import SENDER_FORM, Settings, sender_id

RETRIES = "#rc=5&rp=all"
"""Ends a StatusCallback: Twilio tries again after an error, up to five times in 15 seconds, and otherwise never."""

# WhatsApp's rule for a variable of a template; and half a character.
_NOT_IN_A_VARIABLE = re.compile("[\n\r\t\ud800-\udfff]| {5}")


def message_form(message: Sms, settings: Settings, *, webhook_url: str) -> Sequence[tuple[str, str]]:
    """Return the fields of a request; raise Rejected, with Twilio's own code, for what the channel can't carry."""
    if len(message.text) > 1_600:
        raise Rejected("the text is longer than the 1,600 characters of Twilio", code="21617")
    fields = (_whatsapp if settings.channel == "whatsapp" else _sms)(message, settings)
    fields["ValidityPeriod"] = str(max(1, min(int(message.lifetime), 36_000)))
    if settings.messaging_service:
        fields["MessagingServiceSid"] = settings.messaging_service
    if webhook_url:
        fields["StatusCallback"] = f"{webhook_url}?id={message.id}{RETRIES}"
    return list(fields.items())


def _sms(message: Sms, settings: Settings) -> dict[str, str]:
    fields = {"To": message.recipient.reveal(), "Body": message.text}
    if settings.messaging_service and not (message.sender or settings.default_sender):
        return fields
    sender = sender_id(wire.sender_of(message, settings.default_sender, code="21212"))
    if sender is None:
        raise Rejected(f"Twilio does not accept the sender: it must be {SENDER_FORM}", code="21212")
    return {**fields, "From": sender}


def _whatsapp(message: Sms, settings: Settings) -> dict[str, str]:
    if not message.text.strip() or _NOT_IN_A_VARIABLE.search(message.text):
        problem = "it must be valid Unicode and not blank, with no line break, no tab and no more than 4 spaces in a row"
        raise Rejected(f"WhatsApp does not accept the text in a template: {problem}", code="21656")
    fields = {"To": f"whatsapp:{message.recipient.reveal()}", "ContentSid": settings.template}
    fields["ContentVariables"] = json.dumps({"1": message.text})
    # Smartico's from_number is a sender of text messages.
    if settings.default_sender:
        fields["From"] = f"whatsapp:{sender_id(settings.default_sender)}"
    return fields
