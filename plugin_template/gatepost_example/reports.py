"""Example's reports: their signature and their translation. Pure functions.

A report is a POST with a JSON body::

    {"events": [{"event": "delivered", "id": "<theirs>", "reference": "<ours>", "code": ""}, …]}

The header ``Example-Signature`` is ``t=<seconds>,v1=<hex>``: the HMAC-SHA256 over seconds + ``.`` + body.
"""

import hashlib
import hmac
import re
from collections import Counter

import msgspec

from gatepost.errors import BadSignature, BadWebhook
from gatepost.model import Report, Status, StatusEvent, WebhookRequest

SIGNATURE_HEADER = "Example-Signature"

STATUSES = {
    "sent": Status.ACCEPTED,
    "delivered": Status.DELIVERED,
    "failed": Status.FAILED,
    "blocked": Status.REJECTED,
    # <email>
    "opened": Status.OPENED,
    "complained": Status.COMPLAINED,
    # </email>
    "unsubscribed": Status.UNSUBSCRIBED,
}

_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")

# Only a code passes, because free text may quote an address.
_CODE = re.compile(r"[a-z_]{0,40}")


class _Event(msgspec.Struct):
    event: str
    id: str = ""
    reference: str = ""
    code: str = ""


def signature(secret: str, at: int, body: bytes) -> str:
    """Return the value of the header for a body that is signed at ``at`` (seconds since the epoch)."""
    digest = hmac.digest(secret.encode("utf-8", "replace"), b"%d." % at + body, hashlib.sha256)
    return f"t={at},v1={digest.hex()}"


def verify(request: WebhookRequest, secret: str) -> None:
    """Raise BadSignature unless this body was signed with the secret, and not too long ago."""
    header = _SIGNATURE.fullmatch(request.headers.get(SIGNATURE_HEADER.lower(), ""))
    if not header:
        raise BadSignature(f"the header {SIGNATURE_HEADER} is missing or has another form")
    at = int(header[1])
    # compare_digest takes only ASCII texts; both are ASCII here.
    if not hmac.compare_digest(f"t={at},v1={header[2]}", signature(secret, at, request.body)):
        raise BadSignature("the signature is not by webhook_secret over this body")
    request.expect_fresh(at)


def translate(request: WebhookRequest) -> Report:
    """Translate a verified request; raise BadWebhook if its body is not a report of Example.

    An event that can't be used is counted, and does not affect the other events.
    """
    body = request.json()
    items = body.get("events") if isinstance(body, dict) else None
    if not isinstance(items, list):
        raise BadWebhook('the body is not an object with a list "events"')
    events: list[StatusEvent] = []
    ignored: Counter[str] = Counter()
    for item in items:
        try:
            event = msgspec.convert(item, _Event)
        except msgspec.ValidationError:
            ignored["malformed"] += 1
            continue
        status = STATUSES.get(event.event)
        message_id, provider_id = _valid_id(event.reference), _valid_id(event.id)
        if status is None:
            ignored["unknown"] += 1
        elif not (message_id or provider_id):
            ignored["no_id"] += 1
        else:
            code = event.code if _CODE.fullmatch(event.code) else ""
            events.append(
                StatusEvent(status=status, message_id=message_id, provider_id=provider_id, code=code)
            )
    return Report(events=events, ignored=ignored)


def _valid_id(text: str) -> str:
    """Return ``text`` if it can be an id, otherwise an empty text."""
    return text if len(text) <= 255 and text.isascii() and text.isprintable() and " " not in text else ""
