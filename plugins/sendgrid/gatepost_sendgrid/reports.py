"""SendGrid's Event Webhook: its signature and the translation of its events. Pure functions."""

import base64
import re
from collections.abc import Mapping
from functools import partial

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader  # type: ignore[import-untyped]

from gatepost import wire
from gatepost.errors import BadSignature, ConfigError, Fault
from gatepost.model import Report, Status, StatusEvent, WebhookRequest

_SIGNATURE_HEADER = EventWebhookHeader.SIGNATURE.lower()
_TIMESTAMP_HEADER = EventWebhookHeader.TIMESTAMP.lower()

_STATUSES: Mapping[str, Status] = {
    "processed": Status.ACCEPTED,
    "deferred": Status.ACCEPTED,
    "delivered": Status.DELIVERED,
    "bounce": Status.FAILED,
    "dropped": Status.REJECTED,
    "open": Status.OPENED,
    "spamreport": Status.COMPLAINED,
    "unsubscribe": Status.UNSUBSCRIBED,
    "group_unsubscribe": Status.UNSUBSCRIBED,
}
_WITHOUT_STATUS = frozenset({"click", "group_resubscribe"})
_BOUNCE_TYPES = frozenset({"bounce", "blocked", "expired"})
# The reasons for a drop that SendGrid documents.
_DROP_REASONS: Mapping[str, str] = {
    reason.lower(): reason
    for reason in (
        "Bounced Address",
        "Invalid",
        "Invalid SMTPAPI header",
        "Recipient List over Package Quota",
        "Spam Content",
        "Spam Reporting Address",
        "Unsubscribed Address",
    )
}
_REPLY_CODE = re.compile(r"\s*([245]\d\d)(?!\d)", re.ASCII)
_ENHANCED_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}", re.ASCII)
# sg_message_id is the X-Message-Id of the send and a suffix. An X-Message-Id is 22 characters without a dot;
# older ones contain dots.
_PROVIDER_ID = re.compile(r"[\w-]{22}(?=\.|$)|[!-~]+?(?=\.filter|\.recvd|$)", re.ASCII)


class _Event(msgspec.Struct):
    """An event: the fields that are used, among them our custom argument ``gp_id``."""

    event: str
    gp_id: str | None = None
    sg_message_id: str | None = None
    timestamp: float | str | None = None
    type: str | None = None
    status: str | int | None = None
    reason: str | None = None
    sg_machine_open: bool | None = None


def parse_public_key(text: str) -> ec.EllipticCurvePublicKey | None:
    """Parse the verification key as SendGrid shows it; return None for an empty text. Raises ConfigError."""
    if not text:
        return None
    try:
        key = EventWebhook(text).public_key
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    problem = "must be the Event Webhook's verification key as SendGrid shows it (one line, base64)"
    raise ConfigError([Fault("webhook_public_key", problem)])


def read_report(
    request: WebhookRequest, key: ec.EllipticCurvePublicKey, *, count_machine_opens: bool
) -> Report:
    """Verify a request and translate it; raise the errors of the hook ``parse_webhook``."""
    _verify(key, request)
    return translate(request.body, count_machine_opens=count_machine_opens)


def _verify(key: ec.EllipticCurvePublicKey, request: WebhookRequest) -> None:
    """Raise BadSignature unless SendGrid signed this body, and not too long ago."""
    signature = request.headers.get(_SIGNATURE_HEADER, "")
    timestamp = request.headers.get(_TIMESTAMP_HEADER, "")
    if not signature or not timestamp:
        raise BadSignature("the request is not signed: switch on the Event Webhook's signature at SendGrid")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadSignature("the timestamp is not a number of seconds")
    try:
        der = base64.b64decode(signature, validate=True)
        key.verify(der, timestamp.encode() + request.body, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        raise BadSignature(
            "the signature does not match webhook_public_key and this body: compare the key with SendGrid's"
        ) from None
    request.expect_fresh(int(timestamp))


def translate(body: bytes, *, count_machine_opens: bool) -> Report:
    """Translate the body of a verified request; sort the events by their time. Raises BadWebhook."""
    # Stable: events of the same second keep their order.
    events = sorted(wire.decode_events(body, _Event), key=_timestamp)
    return wire.collect_events(events, partial(_status_event, count_machine_opens=count_machine_opens))


def _timestamp(event: _Event | None) -> float:
    return event.timestamp if event and isinstance(event.timestamp, float) else 0.0


def _status_event(event: _Event, *, count_machine_opens: bool) -> StatusEvent | str:
    """Return the status of an event, or the name under which an event without a status is counted."""
    if event.event == "open" and event.sg_machine_open and not count_machine_opens:
        return "machine_open"
    if event.event not in _STATUSES:
        return event.event if event.event in _WITHOUT_STATUS else "unknown"
    provider_id = _PROVIDER_ID.match(event.sg_message_id or "")
    return StatusEvent(
        status=_STATUSES[event.event],
        message_id=wire.own_id(event.gp_id),
        provider_id=provider_id[0][:255] if provider_id else "",
        code=_code(event),
    )


def _code(event: _Event) -> str:
    """Return the cause, such as ``bounce 550 5.1.1`` or ``Spam Content``.

    Only values of closed lists pass, because everything else may quote an address.
    """
    if event.event == "dropped":
        return _DROP_REASONS.get((event.reason or "").strip().lower(), "dropped")
    if event.event != "bounce":
        return ""
    words = [event.type if event.type in _BOUNCE_TYPES else "bounce"]
    if reply := _REPLY_CODE.match(event.reason or ""):
        words.append(reply[1])
    if enhanced := _ENHANCED_CODE.fullmatch(str(event.status)):
        words.append(enhanced[0])
    return " ".join(words)
