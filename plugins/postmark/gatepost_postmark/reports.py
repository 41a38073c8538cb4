"""Postmark's webhooks, and what they and its list of suppressions say about a recipient. Pure functions."""

import re
from collections.abc import Mapping
from typing import Any

from gatepost import wire
from gatepost.errors import BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookRequest
from gatepost_postmark.messages import ID_FIELD

_STATUSES: Mapping[str, Status] = {
    "Delivery": Status.DELIVERED,
    "Open": Status.OPENED,
    "SpamComplaint": Status.COMPLAINED,
}
# Postmark reports a bounce when it has ceased to try, those named after a passing cause included.
_BOUNCES: Mapping[str, Status] = {
    **dict.fromkeys(
        (
            *("HardBounce", "SoftBounce", "Transient", "DnsError", "Unknown"),
            *("Blocked", "SpamNotification", "VirusNotification", "DMARCPolicy"),
        ),
        Status.FAILED,
    ),
    # Postmark did not try.
    **dict.fromkeys(
        ("BadEmailAddress", "ManuallyDeactivated", "Unconfirmed", "SMTPApiError", "TemplateRenderingFailed"),
        Status.REJECTED,
    ),
    "SpamComplaint": Status.COMPLAINED,
    "Unsubscribe": Status.UNSUBSCRIBED,
}
# Answers of people and of machines to a mail that arrived, and what is about no mail of ours.
_BOUNCES_WITHOUT_STATUS = frozenset(
    {"Subscribe", "AutoResponder", "AddressChange", "OpenRelayTest", "ChallengeVerification", "InboundError"}
)
# The answer of the recipient's server at the beginning of a bounce's details.
_SMTP_REPLY = re.compile(r"(?:smtp;\s*)?([245]\d\d)(?!\d)(?:[ -]+([245]\.\d{1,3}\.\d{1,3})(?!\d))?", re.ASCII)
_MESSAGE_ID = re.compile(r"[0-9a-f-]{36}")


def read_report(request: WebhookRequest, login: wire.Login) -> Report:
    """Check the user name and the password, then translate; raise the errors of the hook ``parse_webhook``."""
    wire.expect_basic_auth(request, login)
    body = request.json()
    if not isinstance(body, dict):
        raise BadWebhook("the body is not a JSON object, as a webhook of Postmark is")
    if "RecordType" not in body and "FromFull" in body:
        return Report(ignored={"inbound": 1})
    if not isinstance(body.get("RecordType"), str):
        raise BadWebhook(
            "the body has no RecordType: replace the webhook of the server's older settings by one in the message stream's "
            "own Webhooks"
        )
    return wire.collect_events([body], _status_event)


def suppression_status(reason: object, origin: object) -> Status | None:
    """Return what a suppression proves about its recipient; None where it proves neither complaint nor opt-out."""
    match reason, origin:
        case "SpamComplaint", _:
            return Status.COMPLAINED
        case "ManualSuppression", "Recipient":
            return Status.UNSUBSCRIBED
    return None


def _status_event(body: Mapping[str, Any]) -> StatusEvent | str:
    """Return the status of a webhook, or the name under which one without a status is counted."""
    kind = body["RecordType"]
    if kind == "Bounce":
        return _bounce(body)
    if kind == "SubscriptionChange":
        return _subscription_change(body)
    if kind in _STATUSES:
        return _event(body, _STATUSES[kind])
    return {"Click": "click", "Inbound": "inbound"}.get(kind, "unknown")


def _bounce(body: Mapping[str, Any]) -> StatusEvent | str:
    kind = body.get("Type")
    if not isinstance(kind, str):
        return "malformed"
    if kind not in _BOUNCES:
        return "no_bounce" if kind in _BOUNCES_WITHOUT_STATUS else "unknown"
    details = body.get("Details")
    reply = _SMTP_REPLY.match(details) if isinstance(details, str) else None
    return _event(body, _BOUNCES[kind], " ".join([kind, *filter(None, reply.groups() if reply else ())]))


def _subscription_change(body: Mapping[str, Any]) -> StatusEvent | str:
    match body:
        case {"SuppressSending": True, "Recipient": str(recipient), "SuppressionReason": str(reason)}:
            # A hard bounce is reported as a bounce too, and an operator's own entry is no opt-out.
            status = suppression_status(reason, body.get("Origin"))
            return _event(body, status, reason, Secret(recipient)) if status else "suppressed"
        case {"SuppressSending": False}:
            return "reactivated"
    return "malformed"


def _event(
    body: Mapping[str, Any], status: Status, code: str = "", recipient: Secret | None = None
) -> StatusEvent:
    metadata = body.get("Metadata")
    own_id = metadata.get(ID_FIELD) if isinstance(metadata, dict) else None
    return StatusEvent(
        status=status,
        message_id=own_id if isinstance(own_id, str) and _MESSAGE_ID.fullmatch(own_id) else "",
        provider_id=wire.safe_id(body.get("MessageID")),
        recipient=recipient,
        code=code,
    )
