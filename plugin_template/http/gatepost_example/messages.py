"""The request bodies of ``POST /v1/messages``. Pure functions.

The reports go to ``webhook_url``; if that is empty, to the address that the account is configured with.
"""

import msgspec
from gatepost import wire  # <sms>
from gatepost.model import (
    Email,  # <email>
    Sms,  # <sms>
)


# <email>
def email_body(message: Email, *, webhook_url: str) -> bytes:
    """Return the body for an email."""
    body = {
        "channel": "email",
        # Our id: reports repeat it, so that Gatepost finds the message.
        "reference": message.id,
        "to": message.recipient.reveal(),
        "from": message.sender.address,
        "from_name": message.sender.name,
        "subject": message.subject,
        "html": message.html,
        "text": message.text,
        "expires_in": int(message.lifetime),
    }
    if message.reply_to:
        body["reply_to"] = message.reply_to.address
    if message.headers:
        body["headers"] = message.headers
    if webhook_url:
        body["report_to"] = webhook_url
    return msgspec.json.encode(body)


# </email>
# <sms>
def sms_body(message: Sms, *, default_sender: str, webhook_url: str) -> bytes:
    """Return the body for a text message; raise Rejected if it has no sender."""
    body = {
        "channel": "sms",
        # Our id: reports repeat it, so that Gatepost finds the message.
        "reference": message.id,
        "to": message.recipient.reveal(),
        "from": wire.sender_of(message, default_sender),
        "text": message.text,
        "expires_in": int(message.lifetime),
    }
    if webhook_url:
        body["report_to"] = webhook_url
    return msgspec.json.encode(body)


# </sms>
