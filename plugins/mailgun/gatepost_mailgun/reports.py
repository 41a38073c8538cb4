"""Mailgun's webhooks: their signature, and the translation of their events. Pure functions."""

import re
from collections.abc import Mapping
from typing import Any

from gatepost import wire
from gatepost.errors import BadSignature, BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookAnswer, WebhookRequest
from gatepost_mailgun.messages import ID_VARIABLE
from gatepost_mailgun.settings import Settings

# By event; a text is the name under which an event without a status is counted.
_STATUSES: Mapping[str, list[Status] | str] = {
    "accepted": [Status.ACCEPTED],
    "rejected": [Status.REJECTED],
    "delivered": [Status.DELIVERED],
    "opened": [Status.OPENED],
    "complained": [Status.COMPLAINED],
    "unsubscribed": [Status.UNSUBSCRIBED],
    "clicked": "clicked",
    "stored": "stored",
}
_FAILURES: Mapping[str, list[Status]] = {
    # Mailgun tries again.
    "temporary": [Status.ACCEPTED],
    "permanent": [Status.FAILED],
    # Mailgun did not try. The cause comes before its effect.
    "permanent suppress-bounce": [Status.REJECTED],
    "permanent suppress-complaint": [Status.COMPLAINED, Status.REJECTED],
    "permanent suppress-unsubscribe": [Status.UNSUBSCRIBED, Status.REJECTED],
}
_SUPPRESSED = ("suppress-bounce", "suppress-complaint", "suppress-unsubscribe")
_REASONS = ("bounce", "delayed-bounce", "espblock", "generic", "greylisted", "hardfail", "old", *_SUPPRESSED)
# What a user does afterwards, which may be about no mail that Gatepost knows.
_OF_USERS = frozenset({Status.COMPLAINED, Status.UNSUBSCRIBED})
_REPLY = re.compile(r"([2-6]\d\d) (?:([245]\.\d{1,3}\.\d{1,3})$)?", re.ASCII)
_LEGACY = "a form is a legacy webhook or a forwarded mail: create the webhook under Send, Webhooks at Mailgun"


def read_report(request: WebhookRequest, settings: Settings) -> Report:
    """Verify a request and translate it; raise the errors of the hook ``parse_webhook``."""
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        raise BadWebhook(_LEGACY)
    body = request.json()
    if not isinstance(body, dict):
        raise BadWebhook("the body is not a JSON object, as a webhook of Mailgun is")
    _verify(request, body.get("signature"), settings)
    if not isinstance(body.get("event-data"), dict):
        # The only answer but 200 after which Mailgun does not repeat a webhook.
        return Report(ignored={"malformed": 1}, answer=WebhookAnswer(status=406))
    data = body["event-data"]
    statuses = _statuses(data, count_machine_opens=settings.count_machine_opens)
    if isinstance(statuses, str):
        return Report(ignored={statuses: 1})
    return wire.collect_events(statuses, lambda status: _event(data, status, settings.domain))


def _verify(request: WebhookRequest, signature: object, settings: Settings) -> None:
    """Raise BadSignature unless Mailgun signed, and not too long ago. It signs no part of the event."""
    match signature:
        case {"timestamp": str() | int() as timestamp, "token": str(token), "signature": str(given)}:
            digits, key = str(timestamp)[:12], settings.webhook_signing_key or Secret("")
            wire.expect_hmac(given, key, f"{timestamp}{token}".encode("utf-8", "replace"))
            if digits.isascii() and digits.isdigit():
                return request.expect_fresh(int(digits))
    raise BadSignature("the body has no signature with a time and a token")


def _statuses(data: Mapping[str, Any], *, count_machine_opens: bool) -> list[Status] | str:
    """Return the statuses of an event, or the name under which one without a status is counted."""
    match data:
        case {"event": "failed", "severity": str(severity)}:
            by_reason = f"{severity} {data.get('reason')}"
            return _FAILURES.get(by_reason, _FAILURES.get(severity, "unknown"))
        case {"event": "opened", "client-info": {"bot": str(bot)}} if bot and not count_machine_opens:
            return "machine_open"
    return _STATUSES.get(str(data.get("event")), "unknown")


def _event(data: Mapping[str, Any], status: Status, domain: str) -> StatusEvent | str:
    own_id = wire.own_id(wire.resolve(data, ("user-variables", ID_VARIABLE)))
    # A webhook of the whole account tells of all its domains, and of what users do there.
    is_here = wire.resolve(data, ("domain", "name"), domain) == domain
    if not own_id and not is_here:
        return "other_domain"
    recipient = data.get("recipient") if is_here and status in _OF_USERS else None
    return StatusEvent(
        status=status,
        message_id=own_id,
        provider_id=mail_id(wire.resolve(data, ("message", "headers", "message-id"))),
        recipient=Secret(recipient) if isinstance(recipient, str) and recipient else None,
        code=_code(data),
    )


def mail_id(message_id: object) -> str:
    """Return the part of a Message-ID before its domain, with which it would look like an address."""
    return wire.safe_id(message_id.strip("<>").partition("@")[0]) if isinstance(message_id, str) else ""


def _code(data: Mapping[str, Any]) -> str:
    """Return the cause of a failure, such as ``bounce 550 5.1.1``: only values of closed lists pass."""
    if data.get("event") != "failed":
        return ""
    reason = str(data.get("reason"))
    number, enhanced = (wire.resolve(data, ("delivery-status", name)) for name in ("code", "enhanced-code"))
    found = _REPLY.match(f"{number} {enhanced}")
    words = found.groups() if found else ()
    return " ".join([reason if reason in _REASONS else "failed", *filter(None, words)])
