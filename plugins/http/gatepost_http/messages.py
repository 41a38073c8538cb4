"""The values of a message for the placeholders of a request. Pure functions."""

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import formataddr

from gatepost.model import Email, Mailbox, Sms
from gatepost_http.settings import Settings
from gatepost_http.templates import HEADERS, Value

_OWN = frozenset({"id", "idempotency_key"})
_LIFETIMES = frozenset({"lifetime_seconds", "lifetime_minutes", "expires_at"})
_CONTENT: Mapping[str, Collection[str]] = {
    "sms": {"recipient", "recipient_digits", "sender", "text"},
    "email": {
        "recipient",
        "sender",
        "sender_name",
        "sender_mailbox",
        "reply_to",
        "subject",
        "html",
        "text",
    },
}
PERSONAL = frozenset({"recipient", "recipient_digits", "text", "subject", "html"})
"""The placeholders whose values are not for a URL, which servers and proxies write to their logs."""


def body_names(channel: str) -> set[str]:
    """Return the placeholders that a body or a query can have; a JSON body of an email also has ``headers``."""
    return {*_OWN, *_LIFETIMES, *_CONTENT[channel], "callback_url"}


def path_names(channel: str) -> set[str]:
    """Return the placeholders that a path can have: those that every message has, and that can't be ``.`` or ``..``."""
    return {"id", "recipient", *({"recipient_digits"} if channel == "sms" else ())}


def header_names() -> set[str]:
    """Return the placeholders that a header can have: those whose values are printable ASCII, whoever wrote them."""
    return {*_OWN, *_LIFETIMES}


def json_names(channel: str) -> set[str]:
    """Return the placeholders that a JSON body can have."""
    return {*body_names(channel), *({HEADERS} if channel == "email" else ())}


def values_of(message: Email | Sms, settings: Settings, callback_url: str) -> dict[str, Value]:
    """Return the message's values by the names of their placeholders."""
    lifetime = max(settings.shortest_lifetime, min(int(message.lifetime), settings.longest_lifetime))
    expires_at = datetime.fromtimestamp(time.time() + lifetime, UTC)
    recipient = message.recipient.reveal()
    values: dict[str, Value] = {
        "id": message.id,
        "idempotency_key": message.idempotency_key or None,
        "recipient": recipient,
        "callback_url": callback_url or None,
        "lifetime_seconds": str(lifetime),
        "lifetime_minutes": str(max(1, lifetime // 60)),
        "expires_at": f"{expires_at:%Y-%m-%dT%H:%M:%S}.{expires_at.microsecond // 1000:03}Z",
    }
    if isinstance(message, Sms):
        return values | {
            "recipient_digits": recipient.removeprefix("+"),
            "sender": message.sender or settings.default_sender or None,
            "text": message.text,
        }
    return values | {
        "sender": message.sender.address,
        "sender_name": message.sender.name or None,
        "sender_mailbox": _mailbox(message.sender),
        "reply_to": message.reply_to.address if message.reply_to else None,
        "subject": message.subject,
        "html": message.html,
        "text": message.text or None,
        HEADERS: dict(message.headers),
    }


def _mailbox(sender: Mailbox) -> str:
    """Return ``"Name" <address>``; a name that is not ASCII is encoded as RFC 2047 says."""
    return formataddr((sender.name, sender.address))
