"""The sandbox's reports: what they look like, how they are signed and what they mean. Pure functions.

A report is a POST with a JSON body::

    {"reports": [{"message": "<ext_message_id>", "status": "delivered"}, …]}

Its header ``Sandbox-Timestamp`` bears the seconds since the epoch, ``Sandbox-Signature`` the HMAC-SHA256
over timestamp + ``.`` + body in hexadecimal.
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

# What a word means to Smartico, and the code that goes with it.
_MEANINGS = {
    "delivered": (Status.DELIVERED, ""),
    "bounced": (Status.FAILED, "bounced"),
    "complained": (Status.COMPLAINED, ""),
    "opened": (Status.OPENED, ""),
    "unsubscribed": (Status.UNSUBSCRIBED, ""),
}


class Line(msgspec.Struct, frozen=True):
    """One message's news. Fields that are not known are ignored."""

    message: Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"\A[!-~]+\Z")]
    status: str


def encode(lines: Sequence[Line]) -> bytes:
    """The body that reports these."""
    return msgspec.json.encode({"reports": lines})


def signed_headers(secret: Secret, body: bytes, at: float) -> dict[str, str]:
    """The headers that prove who reports; ``at`` is in seconds since the epoch."""
    timestamp = str(int(at))
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: _signature(secret, timestamp, body).decode()}


def _signature(secret: Secret, timestamp: str, body: bytes) -> bytes:
    signed = timestamp.encode("utf-8", "replace") + b"." + body
    return hmac.digest(secret.reveal().encode("utf-8", "replace"), signed, "sha256").hex().encode()


def verify(secret: Secret, request: WebhookRequest) -> None:
    """Return when the request was signed with ``secret`` for this body, lately; else raise BadSignature."""
    timestamp = request.headers.get(TIMESTAMP_HEADER.lower(), "")
    signature = request.headers.get(SIGNATURE_HEADER.lower(), "")
    # Bytes: compare_digest takes no str outside ASCII.
    if not hmac.compare_digest(
        signature.encode("utf-8", "replace"), _signature(secret, timestamp, request.body)
    ):
        raise BadSignature("the signature is missing, or was not made with our secret for this body")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadSignature("the timestamp is not a number of seconds")
    request.expect_fresh(int(timestamp))


def translate(request: WebhookRequest) -> Report:
    """What a request that was verified says. Raises BadWebhook where it is not the sandbox's at all."""
    body = request.json()
    lines = body.get("reports") if isinstance(body, Mapping) else None
    if not isinstance(lines, list):
        raise BadWebhook('the body is not an object with a list "reports"')
    events: list[StatusEvent] = []
    ignored: Counter[str] = Counter()
    for item in lines:
        try:
            line = msgspec.convert(item, Line)
        except msgspec.ValidationError:
            ignored["malformed"] += 1
            continue
        if line.status not in _MEANINGS:
            ignored["unknown"] += 1
            continue
        status, code = _MEANINGS[line.status]
        events.append(StatusEvent(status=status, message_id=line.message, code=code))
    return Report(events=events, ignored=ignored)
