"""The bodies of ``POST /v1/messages``. Pure functions."""

import msgspec

from gatepost.errors import Rejected  # <sms>
from gatepost.model import (
    Email,  # <email>
    Sms,  # <sms>
)


# <email>
def email(message: Email, *, report_to: str) -> bytes:
    """The body for an email. ``report_to`` is where its reports shall go; empty: as the account is set."""
    body = {
        "channel": "email",
        "reference": message.id,
        "to": message.recipient.reveal(),
        "from": {"address": message.sender.address, "name": message.sender.name},
        "subject": message.subject,
        "html": message.html,
        "text": message.text,
        "expires_in": int(message.lifetime),
    }
    if message.reply_to:
        body["reply_to"] = message.reply_to.address
    if report_to:
        body["report_to"] = report_to
    return msgspec.json.encode(body)


# </email>
# <sms>
def sms(message: Sms, *, default_sender: str, report_to: str) -> bytes:
    """The body for a text message. Raises Rejected where there is nobody that it could be from."""
    sender = message.sender or default_sender
    if not sender:
        raise Rejected("there is no sender: set default_sender, or let Smartico send a from_number")
    body = {
        "channel": "sms",
        "reference": message.id,
        "to": message.recipient.reveal(),
        "from": sender,
        "text": message.text,
        "expires_in": int(message.lifetime),
    }
    if report_to:
        body["report_to"] = report_to
    return msgspec.json.encode(body)


# </sms>
