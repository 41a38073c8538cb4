"""The requests that send a message on each channel. Pure functions."""

import re
from typing import Any

import msgspec

from gatepost import wire
from gatepost.errors import Rejected
from gatepost.model import Sms
from gatepost_infobip.settings import NUMBER, SENDERS, Settings, sender_on

_PATHS = {"sms": "/sms/3/messages", "viber": "/viber/2/messages", "whatsapp": "/whatsapp/1/message/template"}
_LABELS = {"transaction": "TRANSACTIONAL", "promotion": "PROMOTIONAL"}
_MAX_VIBER_TEXT = 1_000
_MAX_VALIDITY = 48 * 3600
_MIN_VALIDITY = 60
# Meta's rule for what fills a placeholder.
_NOT_IN_A_PLACEHOLDER = re.compile(r"[\n\r\t]| {5}")


def send_request(message: Sms, settings: Settings, webhook_url: str) -> tuple[str, bytes]:
    """Return the path and the body of the POST that sends a message; raise Rejected where the channel can't carry it.

    Its reports go to ``webhook_url``; if that is empty, to where the account's subscriptions lead.
    """
    recipient = message.recipient.reveal().removeprefix("+")
    if not NUMBER.fullmatch(recipient):
        problem = "the recipient's number is none that Infobip takes: 7 to 15 digits, the first not 0"
        raise Rejected(problem, code="REJECTED_DESTINATION")
    channel = settings.channel
    requested = wire.sender_of(message, settings.default_sender, code="REJECTED_SOURCE")
    sender = sender_on(channel, requested if channel == "sms" else settings.default_sender)
    if sender is None:
        raise Rejected(
            f"no Infobip sender is like this one: it must be {SENDERS[channel].form}", code="REJECTED_SOURCE"
        )
    build = _whatsapp_message if channel == "whatsapp" else _message
    one = build(message, settings, recipient, sender, webhook_url)
    count_parts = {"options": {"includeSmsCountInResponse": True}} if channel == "sms" else {}
    try:
        return _PATHS[channel], msgspec.json.encode({"messages": [one], **count_parts})
    except UnicodeEncodeError:
        # Raised below: this error holds the text.
        pass
    raise Rejected("the text is no valid Unicode: it has half a character", code="EC_BAD_REQUEST")


def _message(
    message: Sms, settings: Settings, recipient: str, sender: str, webhook_url: str
) -> dict[str, Any]:
    """Return a message in the form that SMS and Viber share."""
    content, webhooks = (
        {"text": message.text},
        {"contentType": "application/json", "callbackData": message.id},
    )
    seconds = max(_MIN_VALIDITY, min(int(message.lifetime), _MAX_VALIDITY))
    options: dict[str, Any] = {"validityPeriod": {"amount": seconds, "timeUnit": "SECONDS"}}
    addresses: dict[str, Any] = {"delivery": {"url": webhook_url}}
    if message.tags:
        options["campaignReferenceId"] = ":".join(message.tags)[:255]
    if settings.channel == "viber":
        if len(message.text) > _MAX_VIBER_TEXT:
            problem = f"the text is longer than the {_MAX_VIBER_TEXT:,} characters of a Viber message"
            raise Rejected(problem, code="REJECTED_MESSAGE_TOO_LONG")
        content["type"], options["label"] = "TEXT", _LABELS[settings.category]
        addresses["seen"] = {"url": webhook_url}
    return {
        "sender": sender,
        "destinations": [{"to": recipient, "messageId": _message_id(message)}],
        "content": content,
        "options": options,
        "webhooks": {**webhooks, **(addresses if webhook_url else {})},
    }


def _whatsapp_message(
    message: Sms, settings: Settings, recipient: str, sender: str, webhook_url: str
) -> dict[str, Any]:
    if _NOT_IN_A_PLACEHOLDER.search(message.text):
        problem = "WhatsApp takes no line break, no tab and no 5 spaces in a row in a placeholder"
        raise Rejected(problem, code="EC_INVALID_TEMPLATE_ARGS")
    assert settings.template is not None, "checked when the gateway started"
    return {
        "from": sender,
        "to": recipient,
        "messageId": _message_id(message),
        "content": {
            "templateName": settings.template.name,
            "templateData": {"body": {"placeholders": [message.text]}},
            "language": settings.template.language,
        },
        "callbackData": message.id,
        **({"notifyUrl": webhook_url} if webhook_url else {}),
    }


def _message_id(message: Sms) -> str:
    """Return the id that this try has at Infobip, which refuses one that it knows; it begins with our own id.

    Reports of WhatsApp messages have no other id.
    """
    return f"{message.id}.{message.idempotency_key}"
