"""Requests, and what their answers mean. Pure functions."""

from collections.abc import Mapping
from typing import Any

from gatepost import wire
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import (
    Email,  # <email>
    Receipt,
    Sms,  # <sms>
)


# <email>
def email_request(message: Email) -> Mapping[str, Any]:
    """Return the request that sends an email."""
    return {
        "send": "email",
        "reference": message.id,
        "to": message.recipient.reveal(),
        "from": message.sender.address,
        "from_name": message.sender.name,
        "subject": message.subject,
        "html": message.html,
        "text": message.text,
        "expires_in": int(message.lifetime),
    }


# </email>
# <sms>
def sms_request(message: Sms, sender: str) -> Mapping[str, Any]:
    """Return the request that sends a text message."""
    return {
        "send": "sms",
        "reference": message.id,
        "to": message.recipient.reveal(),
        "from": sender,
        "text": message.text,
        "expires_in": int(message.lifetime),
    }


# </sms>
def receipt(answer: Mapping[str, Any]) -> Receipt:
    """Return the receipt in an answer, or raise the error that the answer means for the message."""
    match answer:
        case {"id": str(provider_id)}:
            return Receipt(provider_id[:255])
        case {"error": "wrong_key"}:
            raise Unavailable("the server refused the key", code="wrong_key", misconfigured=True)
        case {"error": "busy", "seconds": int(seconds)}:
            raise Unavailable("the server is busy", code="busy", retry_after=seconds)
        case {"error": "down"}:
            raise Unavailable("the server has an error of its own", code="down")
        case {"error": str(code)}:
            raise Rejected("the server refused the message", code=wire.safe_code(code))
    raise Uncertain("the answer is not from this server: check host and port")
