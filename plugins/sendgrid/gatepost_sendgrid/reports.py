"""SendGrid's Event Webhook: its signature and the translation of its events. Pure functions."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader  # type: ignore[import-untyped]

from gatepost.errors import BadSignature, BadWebhook, ConfigError, Fault
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
_MESSAGE_ID = re.compile(r"[0-9a-f-]{36}")
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


_EVENT_LIST = msgspec.json.Decoder(list[_Event])


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
    raise ConfigError(
        [
            Fault(
                "webhook_public_key",
                "must be the Event Webhook's verification key as SendGrid shows it (one line, base64)",
            )
        ]
    )


def verify(key: ec.EllipticCurvePublicKey, request: WebhookRequest) -> None:
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
    ignored: Counter[str] = Counter()
    timed_events: list[tuple[float, StatusEvent]] = []
    for event in _decode(body, ignored):
        reason = _ignored_as(event, count_machine_opens=count_machine_opens)
        if reason:
            ignored[reason] += 1
            continue
        status_event = StatusEvent(
            status=_STATUSES[event.event],
            message_id=_message_id(event),
            provider_id=_provider_id(event),
            code=_code(event),
        )
        if status_event.message_id or status_event.provider_id:
            at = event.timestamp if isinstance(event.timestamp, float) else 0.0
            timed_events.append((at, status_event))
        else:
            ignored["no_id"] += 1
    # Stable: events of the same second keep their order.
    timed_events.sort(key=lambda timed: timed[0])
    return Report(events=[status_event for _, status_event in timed_events], ignored=dict(ignored))


def _decode(body: bytes, ignored: Counter[str]) -> Iterator[_Event]:
    try:
        yield from _EVENT_LIST.decode(body)
        return
    except (ValueError, RecursionError):
        # One bad event may be the cause: not an object, a number in place of a text, half a character.
        pass
    for element in _decode_leniently(body):
        try:
            event = msgspec.convert(element, _Event)
        except ValueError:
            ignored["malformed"] += 1
        else:
            yield event


def _decode_leniently(body: bytes) -> list[object]:
    """Decode the body with the standard library, which accepts more than msgspec at several times the cost."""
    try:
        # As float, because int refuses numbers of thousands of digits.
        elements = json.loads(body.decode("utf-8", "replace"), parse_int=float)
    except (ValueError, RecursionError):
        raise BadWebhook("the body is not JSON") from None
    if not isinstance(elements, list):
        raise BadWebhook("the body is not a list of events")
    return elements


def _ignored_as(event: _Event, *, count_machine_opens: bool) -> str:
    """Return the name under which an event without a status is counted; empty if it has a status."""
    if event.event == "open" and event.sg_machine_open and not count_machine_opens:
        return "machine_open"
    if event.event in _STATUSES:
        return ""
    return event.event if event.event in _WITHOUT_STATUS else "unknown"


def _message_id(event: _Event) -> str:
    return event.gp_id if event.gp_id and _MESSAGE_ID.fullmatch(event.gp_id) else ""


def _provider_id(event: _Event) -> str:
    found = _PROVIDER_ID.match(event.sg_message_id) if event.sg_message_id else None
    return found[0][:255] if found else ""


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
