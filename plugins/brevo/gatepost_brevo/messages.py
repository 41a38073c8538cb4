"""The request bodies of Brevo's two sends. Pure functions."""

import uuid
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from gatepost import wire
from gatepost.errors import Rejected
from gatepost.model import Email, Mailbox, Sms
from gatepost.sms_parts import is_gsm7
from gatepost_brevo.settings import SENDER, SENDER_FORM, Settings

ID_HEADER = "X-Mailin-custom"
"""The header of a mail that its reports repeat. It holds our id."""

# The code with which Brevo refuses the same faults.
_INVALID = "invalid_parameter"


def email_body(message: Email) -> bytes:
    """Return the body of ``POST /v3/smtp/email``; raise Rejected for text that can't be encoded."""
    key = _uuid(message.idempotency_key or message.id)
    body: dict[str, object] = {
        "sender": _person(message.sender),
        "to": [{"email": message.recipient.reveal()}],
        "subject": message.subject,
        "htmlContent": message.html,
        "headers": {**message.headers, ID_HEADER: message.id, "idempotencyKey": key},
    }
    if message.text:
        body["textContent"] = message.text
    if message.reply_to:
        body["replyTo"] = _person(message.reply_to)
    if message.tags:
        body["tags"] = list(message.tags)
    return _encode(body)


def sms_body(message: Sms, settings: Settings, webhook_url: str) -> bytes:
    """Return the body of ``POST /v3/transactionalSMS/sms``; raise Rejected if Brevo would refuse the message."""
    sender = wire.sender_of(message, settings.default_sender, code=_INVALID)
    if not SENDER.fullmatch(sender):
        raise Rejected(f"Brevo does not accept the sender: it must be {SENDER_FORM}", code=_INVALID)
    body: dict[str, object] = {
        "sender": sender.removeprefix("+"),
        "recipient": message.recipient.reveal().removeprefix("+"),
        "content": message.text,
        "type": settings.category,
        "unicodeEnabled": not is_gsm7(message.text),
    }
    if message.tags:
        body["tag"] = list(message.tags)
    if webhook_url and settings.webhook_basic is not None:
        body["webUrl"] = _report_url(webhook_url, settings.webhook_basic, message.id)
    return _encode(body)


def _person(mailbox: Mailbox) -> Mapping[str, str]:
    return {"email": mailbox.address, **({"name": mailbox.name} if mailbox.name else {})}


def _uuid(key: str) -> str:
    """Return a key as a UUID, the only form that Brevo documents; the same one for the same key."""
    try:
        return str(uuid.UUID(key))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, key))


def _report_url(webhook_url: str, login: wire.Login, message_id: str) -> str:
    """Return where a message's reports go, with the user name and password as Brevo reads them."""
    scheme, _, place = webhook_url.partition("://")
    user, password = quote(login.username, safe=""), quote(login.password.reveal(), safe="")
    return f"{scheme}://{user}:{password}@{place}?id={message_id}"


def _encode(body: Mapping[str, object]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        pass
    # Raised here, because an exception raised above would keep the encoder's error, which holds the text.
    raise Rejected("the message has half of a Unicode character", code=_INVALID)
