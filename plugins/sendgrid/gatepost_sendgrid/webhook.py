"""SendGrid's Event Webhook: is it SendGrid's, and what do its events mean. Pure functions."""

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

_SIGNATURE = EventWebhookHeader.SIGNATURE.lower()
_TIMESTAMP = EventWebhookHeader.TIMESTAMP.lower()

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
_NO_STATUS = frozenset({"click", "group_resubscribe"})
_BOUNCES = frozenset({"bounce", "blocked", "expired"})
# All the reasons that SendGrid documents for a drop.
_DROPS: Mapping[str, str] = {
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
_OUR_ID = re.compile(r"[0-9a-f-]{36}")
# sg_message_id is the X-Message-Id of the send with a suffix. An X-Message-Id is 22 characters without a
# dot; older ones hold dots themselves.
_PROVIDER_ID = re.compile(r"[\w-]{22}(?=\.|$)|[!-~]+?(?=\.filter|\.recvd|$)", re.ASCII)


class _Event(msgspec.Struct):
    """The fields that matter here; others, custom arguments and categories among them, are not looked at."""

    event: str
    gp_id: str | None = None
    sg_message_id: str | None = None
    timestamp: float | str | None = None
    type: str | None = None
    status: str | int | None = None
    reason: str | None = None
    sg_machine_open: bool | None = None


_EVENTS = msgspec.json.Decoder(list[_Event])


def public_key(text: str) -> ec.EllipticCurvePublicKey | None:
    """The verification key as SendGrid shows it, parsed; None for an empty text. Raises ConfigError."""
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
    """Raise BadSignature unless SendGrid signed this very body, neither long ago nor in the future."""
    signature = request.headers.get(_SIGNATURE, "")
    timestamp = request.headers.get(_TIMESTAMP, "")
    if not signature or not timestamp:
        raise BadSignature("it is not signed: switch on the Event Webhook's signature at SendGrid")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadSignature("the signature's time is not a number of seconds")
    try:
        der = base64.b64decode(signature, validate=True)
        key.verify(der, timestamp.encode() + request.body, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        raise BadSignature(
            "the signature is not one of webhook_public_key's for this body: compare the key with SendGrid's"
        ) from None
    request.expect_fresh(int(timestamp))


def translate(body: bytes, *, count_machine_opens: bool) -> Report:
    """What a verified request says, in the order in which it happened. Raises BadWebhook."""
    ignored: Counter[str] = Counter()
    reported: list[tuple[float, StatusEvent]] = []
    for event in _decode(body, ignored):
        kind = _kind_without_status(event, count_machine_opens=count_machine_opens)
        if kind:
            ignored[kind] += 1
            continue
        status_event = StatusEvent(
            status=_STATUSES[event.event],
            message_id=_message_id(event),
            provider_id=_provider_id(event),
            code=_code(event),
        )
        if status_event.message_id or status_event.provider_id:
            happened = event.timestamp if isinstance(event.timestamp, float) else 0.0
            reported.append((happened, status_event))
        else:
            ignored["no_id"] += 1
    reported.sort(key=lambda timed: timed[0])
    return Report(events=[status_event for _, status_event in reported], ignored=dict(ignored))


def _decode(body: bytes, ignored: Counter[str]) -> Iterator[_Event]:
    try:
        yield from _EVENTS.decode(body)
        return
    except (ValueError, RecursionError):
        # Perhaps a single event is at fault: no object, a number for a text, half a character.
        pass
    for element in _tolerant(body):
        try:
            event = msgspec.convert(element, _Event)
        except ValueError:
            ignored["malformed"] += 1
        else:
            yield event


def _tolerant(body: bytes) -> list[object]:
    """What msgspec refuses, the standard library takes; at several times the cost."""
    try:
        # float, because int refuses thousands of digits.
        elements = json.loads(body.decode("utf-8", "replace"), parse_int=float)
    except (ValueError, RecursionError):
        raise BadWebhook("the body is not JSON") from None
    if not isinstance(elements, list):
        raise BadWebhook("the body is not a list of events")
    return elements


def _kind_without_status(event: _Event, *, count_machine_opens: bool) -> str:
    if event.event == "open" and event.sg_machine_open and not count_machine_opens:
        return "machine_open"
    if event.event in _STATUSES:
        return ""
    return event.event if event.event in _NO_STATUS else "unknown"


def _message_id(event: _Event) -> str:
    return event.gp_id if event.gp_id and _OUR_ID.fullmatch(event.gp_id) else ""


def _provider_id(event: _Event) -> str:
    found = _PROVIDER_ID.match(event.sg_message_id) if event.sg_message_id else None
    return found[0][:255] if found else ""


def _code(event: _Event) -> str:
    """Why, from closed lists: ``bounce 550 5.1.1``, ``Spam Content``; the rest quotes addresses."""
    if event.event == "dropped":
        return _DROPS.get((event.reason or "").strip().lower(), "dropped")
    if event.event != "bounce":
        return ""
    words = [event.type if event.type in _BOUNCES else "bounce"]
    if reply := _REPLY_CODE.match(event.reason or ""):
        words.append(reply[1])
    if enhanced := _ENHANCED_CODE.fullmatch(str(event.status)):
        words.append(enhanced[0])
    return " ".join(words)
