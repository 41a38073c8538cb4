"""Reports: are they Example's, and what do they say. Pure functions.

A report is a POST with a JSON body::

    {"events": [{"event": "delivered", "id": "<theirs>", "reference": "<ours>", "code": ""}, …]}

Its header ``Example-Signature`` is ``t=<seconds>,v1=<hex>``: the HMAC-SHA256 over seconds + ``.`` + body.
"""

import hashlib
import hmac
import re
from collections import Counter

import msgspec

from gatepost.errors import BadSignature, BadWebhook
from gatepost.model import Report, Status, StatusEvent, WebhookRequest

HEADER = "Example-Signature"

_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_CODE = re.compile(r"[a-z_]{0,40}")

MEANINGS = {
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


class _Event(msgspec.Struct):
    event: str
    id: str = ""
    reference: str = ""
    code: str = ""


def signature(secret: str, at: int, body: bytes) -> str:
    """The header's value for a body that is signed at ``at`` (seconds since the epoch)."""
    digest = hmac.digest(secret.encode("utf-8", "replace"), b"%d." % at + body, hashlib.sha256)
    return f"t={at},v1={digest.hex()}"


def verify(request: WebhookRequest, secret: str) -> None:
    """Raise BadSignature unless this very body was signed with the secret, neither long ago nor ahead."""
    given = request.headers.get(HEADER.lower(), "")
    found = _SIGNATURE.fullmatch(given)
    if not found:
        raise BadSignature(f"the header {HEADER} is missing or has another form")
    at = int(found[1])
    # Both are ASCII here; compare_digest takes no other text.
    if not hmac.compare_digest(f"t={at},v1={found[2]}", signature(secret, at, request.body)):
        raise BadSignature("the signature was not made with webhook_secret for this body")
    request.expect_fresh(at)


def translate(request: WebhookRequest) -> Report:
    """What a verified request says. Raises BadWebhook where it is none of Example's."""
    body = request.json()
    listed = body.get("events") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise BadWebhook('the body is no object with a list "events"')
    events: list[StatusEvent] = []
    ignored: Counter[str] = Counter()
    for item in listed:
        try:
            event = msgspec.convert(item, _Event)
        except msgspec.ValidationError:
            ignored["malformed"] += 1
            continue
        status = MEANINGS.get(event.event)
        message_id, provider_id = _id(event.reference), _id(event.id)
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


def _id(text: str) -> str:
    """``text`` where it can be an id; otherwise empty."""
    return text if len(text) <= 255 and text.isascii() and text.isprintable() and " " not in text else ""
