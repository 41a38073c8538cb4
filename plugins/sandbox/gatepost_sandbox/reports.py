"""The sandbox's reports: their form, their signature and their translation. Pure functions.

A report is a POST with a JSON body::

    {"reports": [{"message": "<ext_message_id>", "status": "delivered"}, …]}

The header ``Sandbox-Timestamp`` holds the seconds since the epoch. ``Sandbox-Signature`` holds the
HMAC-SHA256 over timestamp + ``.`` + body, in hexadecimal.
"""

import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from gatepost.errors import BadSignature, BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookRequest

TIMESTAMP_HEADER = "Sandbox-Timestamp"
SIGNATURE_HEADER = "Sandbox-Signature"

# Gatepost's status for each of the sandbox's words, and the code that it gets.
_STATUSES = {
    "delivered": (Status.DELIVERED, ""),
    "bounced": (Status.FAILED, "bounced"),
    "complained": (Status.COMPLAINED, ""),
    "opened": (Status.OPENED, ""),
    "unsubscribed": (Status.UNSUBSCRIBED, ""),
}


class ReportItem(msgspec.Struct, frozen=True):
    """A message and its status; other fields are ignored."""

    message: Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"\A[!-~]+\Z")]
    status: str


def encode_body(items: Sequence[ReportItem]) -> bytes:
    """Return the body of a request that reports these items."""
    return msgspec.json.encode({"reports": items})


def signed_headers(secret: Secret, body: bytes, at: float) -> dict[str, str]:
    """Return the headers that sign a body at ``at`` (seconds since the epoch)."""
    timestamp = str(int(at))
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: _signature(secret, timestamp, body).decode()}


def verify(secret: Secret, request: WebhookRequest) -> None:
    """Raise BadSignature unless this body was signed with ``secret``, and not too long ago."""
    timestamp = request.headers.get(TIMESTAMP_HEADER.lower(), "")
    signature = request.headers.get(SIGNATURE_HEADER.lower(), "")
    # As bytes, because compare_digest refuses a str with non-ASCII characters.
    if not hmac.compare_digest(
        signature.encode("utf-8", "replace"), _signature(secret, timestamp, request.body)
    ):
        raise BadSignature("the signature is missing, or is not by webhook_secret over this body")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadSignature("the timestamp is not a number of seconds")
    request.expect_fresh(int(timestamp))


def _signature(secret: Secret, timestamp: str, body: bytes) -> bytes:
    signed = timestamp.encode("utf-8", "replace") + b"." + body
    return hmac.digest(secret.reveal().encode("utf-8", "replace"), signed, "sha256").hex().encode()


def translate(request: WebhookRequest) -> Report:
    """Translate a verified request; raise BadWebhook if its body is not the sandbox's."""
    body = request.json()
    items = body.get("reports") if isinstance(body, Mapping) else None
    if not isinstance(items, list):
        raise BadWebhook('the body is not an object with a list "reports"')
    events: list[StatusEvent] = []
    ignored: Counter[str] = Counter()
    for entry in items:
        try:
            item = msgspec.convert(entry, ReportItem)
        except msgspec.ValidationError:
            ignored["malformed"] += 1
            continue
        if item.status not in _STATUSES:
            ignored["unknown"] += 1
            continue
        status, code = _STATUSES[item.status]
        events.append(StatusEvent(status=status, message_id=item.message, code=code))
    return Report(events=events, ignored=ignored)
