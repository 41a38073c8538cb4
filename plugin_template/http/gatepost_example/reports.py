"""Example's reports: their signature and their translation. Pure functions.

A report is a POST with a JSON body::

    {"events": [{"event": "delivered", "id": "<theirs>", "reference": "<ours>", "code": ""}, …]}

The header ``Example-Signature`` is ``t=<seconds>,v1=<hex>``: the HMAC-SHA256 over seconds + ``.`` + body.
"""

import re
from typing import Any

import msgspec
from gatepost import wire
from gatepost.errors import BadSignature
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookRequest

SIGNATURE_HEADER = "Example-Signature"
_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")

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


class _Event(msgspec.Struct):
    event: str
    id: str = ""
    reference: str = ""
    code: str = ""


def read(request: WebhookRequest, secret: Secret) -> Report:
    """Verify a request and translate it; raise the errors of the hook ``parse_webhook``."""
    verify(request, secret)
    return translate(request)


def verify(request: WebhookRequest, secret: Secret) -> None:
    """Raise BadSignature unless this body was signed with the secret, and not too long ago."""
    header = _SIGNATURE.fullmatch(request.headers.get(SIGNATURE_HEADER.lower(), ""))
    if not header:
        raise BadSignature(f"the header {SIGNATURE_HEADER} is missing or has another form")
    signed_at, signature = header.groups()
    wire.expect_hmac(signature, secret, signed_at.encode() + b"." + request.body)
    request.expect_fresh(int(signed_at))


def translate(request: WebhookRequest) -> Report:
    """Translate a verified request; raise BadWebhook if its body is not a report of Example."""
    body = request.json()
    return wire.collect_events(body.get("events") if isinstance(body, dict) else None, _status_event)


def _status_event(item: Any) -> StatusEvent | str:
    """Return the status in an event, or the name under which an event without a status is counted."""
    event = msgspec.convert(item, _Event)
    if event.event not in STATUSES:
        return "unknown"
    return StatusEvent(
        status=STATUSES[event.event],
        message_id=wire.safe_id(event.reference),
        provider_id=wire.safe_id(event.id),
        code=wire.safe_code(event.code),
    )
