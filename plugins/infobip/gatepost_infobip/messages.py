"""The requests that send a message on each channel. Pure functions."""

import re
from typing import Any

import msgspec

from gatepost import wire
from gatepost.errors import Rejected
from gatepost.model import Sms
from gatepost_infobip.settings import NUMBER, SENDERS, Settings, sender_on

_PATHS = {"sms": "/sms/3/messages", "viber": "/viber/2/messages", "whatsapp": "/whatsapp/1/message/template"}
_Json = dict[str, Any]
_NOT_IN_A_PLACEHOLDER = re.compile(r"[\n\r\t]| {5}")  # By Meta's rule.


def send_request(message: Sms, settings: Settings, webhook_url: str) -> tuple[str, bytes]:
    """Return the path and the body of the POST that sends a message; raise Rejected where the channel can't carry it.

    Its reports go to ``webhook_url``; if that is empty, to where the account's subscriptions lead.
    """
    channel, recipient = settings.channel, message.recipient.reveal().removeprefix("+")
    if not NUMBER.fullmatch(recipient):
        raise Rejected("the number needs 7 to 15 digits, the first not 0", code="REJECTED_DESTINATION")
    requested = wire.sender_of(message, settings.default_sender, code="REJECTED_SOURCE")
    sender = sender_on(channel, requested if channel == "sms" else settings.default_sender)
    if sender is None:
        raise Rejected(f"the sender must be {SENDERS[channel][1]}", code="REJECTED_SOURCE")
    # Infobip refuses an id that it knows, so each try has its own. WhatsApp's reports have no other id.
    destination = {"to": recipient, "messageId": f"{message.id}.{message.idempotency_key}"}
    build = _template_request if channel == "whatsapp" else _text_request
    try:
        body = msgspec.json.encode(build(message, settings, sender, destination, webhook_url))
        return _PATHS[channel], body
    except UnicodeEncodeError:
        pass  # Raised below: this error holds the text.
    raise Rejected("the text is no valid Unicode: it has half a character", code="EC_BAD_REQUEST")


def _text_request(message: Sms, settings: Settings, sender: str, destination: _Json, url: str) -> _Json:
    is_viber, reports_to = settings.channel == "viber", {"url": url} if url else {}
    if is_viber and len(message.text) > 1_000:
        raise Rejected("Viber takes texts of up to 1,000 characters", code="REJECTED_MESSAGE_TOO_LONG")
    validity = {"amount": max(60, min(int(message.lifetime), 48 * 3600)), "timeUnit": "SECONDS"}
    options = {"validityPeriod": validity, "campaignReferenceId": ":".join(message.tags)[:255]}
    webhooks = {"delivery": reports_to, "contentType": "application/json", "callbackData": message.id}
    text = {"sender": sender, "destinations": [destination], "content": {"text": message.text}}
    if is_viber:
        text["content"], webhooks["seen"] = {"type": "TEXT", "text": message.text}, reports_to
        options["label"] = {"transaction": "TRANSACTIONAL", "promotion": "PROMOTIONAL"}[settings.category]
    text |= {"options": _present(options), "webhooks": _present(webhooks)}
    return {"messages": [text], "options": {} if is_viber else {"includeSmsCountInResponse": True}}


def _template_request(message: Sms, settings: Settings, sender: str, destination: _Json, url: str) -> _Json:
    if _NOT_IN_A_PLACEHOLDER.search(message.text):
        problem = "WhatsApp takes no line break, tab or 5 spaces in a row in a placeholder"
        raise Rejected(problem, code="EC_INVALID_TEMPLATE_ARGS")
    assert settings.template is not None, "checked when the gateway started"
    content: _Json = {"templateName": settings.template.name, "language": settings.template.language}
    content["templateData"] = {"body": {"placeholders": [message.text]}}
    one = {"from": sender, **destination, "content": content, "callbackData": message.id, "notifyUrl": url}
    return {"messages": [_present(one)]}


def _present(fields: _Json) -> _Json:
    return {name: value for name, value in fields.items() if value}
