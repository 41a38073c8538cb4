"""What a plugin gave, made sound: a copy with nothing in it but what the contract knows, scrubbed and bounded."""

import re
from collections.abc import Mapping
from typing import Any, cast

from gatepost.errors import (
    BadSignature,
    BadWebhook,
    NoVerificationKey,
    Rejected,
    SendError,
    Unavailable,
    Uncertain,
    WebhookError,
    WebhookRetry,
)
from gatepost.model import Contact, Secret, Status, StatusEvent
from gatepost.observe import logs

SEND_ERRORS = (Rejected, Unavailable, Uncertain)
WEBHOOK_ERRORS = (NoVerificationKey, BadSignature, BadWebhook, WebhookRetry)

_REASON, _CODE, LONGEST_ID = 200, 64, 255
"""Characters that are kept of a plugin's texts."""
_SCRUBBED = 8_000
_ATTRIBUTES = 1_000
"""Attributes that a contact may have."""
_FOREVER = 1e9
# Full of digits and no phone number: 550 5.7.26.
_SMTP_CODE = re.compile(r"[245][0-9]{2}[ -][245]\.[0-9]{1,3}\.[0-9]{1,3}")


class Unsound(Exception):
    """A plugin gave something else than it promised; the text says what, and quotes nothing of it."""


def send_error(error: BaseException) -> SendError:
    """A plugin's error anew: only what the contract knows of it, scrubbed; no cause, no traceback."""
    reason, code = text_of(getattr(error, "reason", ""), _REASON), code_of(getattr(error, "code", ""))
    if isinstance(error, Unavailable):
        after: object = getattr(error, "retry_after", None)
        usable = isinstance(after, int | float) and -_FOREVER < after < _FOREVER
        return Unavailable(
            reason,
            code=code,
            retry_after=float(cast("float", after)) if usable else None,
            misconfigured=getattr(error, "misconfigured", False) is True,
            message_only=getattr(error, "message_only", False) is True,
            content_only=getattr(error, "content_only", False) is True,
        )
    return Rejected(reason, code=code) if isinstance(error, Rejected) else Uncertain(reason, code=code)


def webhook_error(error: BaseException) -> WebhookError:
    """The same for webhooks."""
    kind = next(kind for kind in WEBHOOK_ERRORS if isinstance(error, kind))
    return kind(text_of(str(error), _REASON))


def event_of(event: object) -> StatusEvent | None:
    """A sound copy of an event; None where it says no status or of no message."""
    if not isinstance(event, StatusEvent) or not isinstance(event.status, Status):
        return None
    message_id, provider_id = identifier(event.message_id), identifier(event.provider_id)
    if not (message_id or provider_id):
        return None
    return StatusEvent(
        status=event.status, message_id=message_id, provider_id=provider_id, code=code_of(event.code)
    )


def identifier(text: object) -> str:
    """An id as it is, or nothing: one that was cut would never be found again."""
    if not isinstance(text, str):
        return ""
    # A text and nothing more, whatever a class of the plugin's makes of one.
    text = str.__str__(text)
    return text if len(text) <= LONGEST_ID and text.isprintable() else ""


def code_of(text: object) -> str:
    if isinstance(text, str) and _SMTP_CODE.fullmatch(text):
        return text
    return text_of(text, _CODE)


def text_of(text: object, most: int) -> str:
    """A plugin's text scrubbed, printable and short; empty where it is no text."""
    if not isinstance(text, str):
        return ""
    text = str.__str__(text)
    if len(text) > _SCRUBBED:
        # Cut between words: half an address would not be recognised as one.
        text = text[:_SCRUBBED].rpartition(" ")[0]
    printable = (letter if letter.isprintable() else " " for letter in logs.scrub(text))
    return "".join(printable).strip()[:most]


def kind_of(value: object) -> str:
    return text_of(type(value).__name__, 64)


def contact_of(contact: object) -> Contact:
    """A copy of a source's Contact; raises Unsound for anything that is none."""
    if not isinstance(contact, Contact):
        raise Unsound(f"returned {kind_of(contact)} instead of a Contact")
    addresses: tuple[object, ...] = (contact.email, contact.phone)
    given: object = contact.attributes
    if not isinstance(given, Mapping) or len(given) > _ATTRIBUTES:
        raise Unsound(f"returned more than {_ATTRIBUTES} attributes, or none")
    attributes: dict[Any, Any] = dict(given)
    texts: list[object] = [item for pair in attributes.items() for item in pair]
    texts += [value.reveal() for value in addresses if isinstance(value, Secret)]
    if not all(value is None or isinstance(value, Secret) for value in addresses) or not all(
        isinstance(text, str) for text in texts
    ):
        raise Unsound("returned a Contact with values of other types")
    return Contact(email=contact.email, phone=contact.phone, attributes=attributes)
