"""The sandbox's reports: their form, their signature and their translation. Pure functions.

A report is a POST with a JSON body::

    {"reports": [{"message": "<ext_message_id>", "status": "delivered"}, …]}

The header ``Sandbox-Timestamp`` holds the seconds since the epoch. ``Sandbox-Signature`` holds the
HMAC-SHA256 over timestamp + ``.`` + body, in hexadecimal.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from gatepost import wire
from gatepost.errors import BadSignature
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
    signature = hmac.digest(secret.reveal().encode("utf-8", "replace"), _signed(timestamp, body), "sha256")
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature.hex()}


def read_report(request: WebhookRequest, secret: Secret) -> Report:
    """Verify a request and translate it; raise the errors of the hook ``parse_webhook``."""
    timestamp = request.headers.get(TIMESTAMP_HEADER.lower(), "")
    signature = request.headers.get(SIGNATURE_HEADER.lower(), "")
    wire.expect_hmac(signature, secret, _signed(timestamp, request.body))
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadSignature("the timestamp is not a number of seconds")
    request.expect_fresh(int(timestamp))
    return translate(request)


def _signed(timestamp: str, body: bytes) -> bytes:
    return timestamp.encode("utf-8", "replace") + b"." + body


def translate(request: WebhookRequest) -> Report:
    """Translate a verified request; raise BadWebhook if its body is not the sandbox's."""
    body = request.json()
    return wire.collect_events(body.get("reports") if isinstance(body, Mapping) else None, _status_event)


def _status_event(entry: object) -> StatusEvent | str:
    item = msgspec.convert(entry, ReportItem)
    if item.status not in _STATUSES:
        return "unknown"
    status, code = _STATUSES[item.status]
    return StatusEvent(status=status, message_id=item.message, code=code)
