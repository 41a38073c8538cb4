"""The request bodies of ``POST /v1/messages``. Pure functions."""

import msgspec

from gatepost.errors import Rejected  # <sms>
from gatepost.model import (
    Email,  # <email>
    Sms,  # <sms>
)


# <email>
def email_body(message: Email, *, webhook_url: str) -> bytes:
    """Return the body for an email.

    Its reports go to ``webhook_url``; if that is empty, to the address that the account is configured with.
    """
    body = {
        "channel": "email",
        # Our id: reports repeat it, so that Gatepost finds the message.
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
    if webhook_url:
        body["report_to"] = webhook_url
    return msgspec.json.encode(body)


# </email>
# <sms>
def sms_body(message: Sms, *, default_sender: str, webhook_url: str) -> bytes:
    """Return the body for a text message; raise Rejected if it has no sender.

    Its reports go to ``webhook_url``; if that is empty, to the address that the account is configured with.
    """
    sender = message.sender or default_sender
    if not sender:
        raise Rejected("no sender: set default_sender, or let Smartico send a from_number")
    body = {
        "channel": "sms",
        # Our id: reports repeat it, so that Gatepost finds the message.
        "reference": message.id,
        "to": message.recipient.reveal(),
        "from": sender,
        "text": message.text,
        "expires_in": int(message.lifetime),
    }
    if webhook_url:
        body["report_to"] = webhook_url
    return msgspec.json.encode(body)


# </sms>
