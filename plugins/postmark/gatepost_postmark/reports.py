"""Postmark's webhooks, and what they and its suppressions say about a recipient. Pure functions."""

import re
from collections.abc import Mapping
from functools import partial
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
# Postmark reports a bounce when it has ceased to try, also those that are named after a passing cause.
_FAILED = (
    "HardBounce SoftBounce Transient DnsError Unknown Blocked SpamNotification VirusNotification DMARCPolicy"
)
# Postmark did not try.
_REJECTED = "BadEmailAddress ManuallyDeactivated Unconfirmed SMTPApiError TemplateRenderingFailed"
_BOUNCES: Mapping[str, Status] = {
    **dict.fromkeys(_FAILED.split(), Status.FAILED),
    **dict.fromkeys(_REJECTED.split(), Status.REJECTED),
    "SpamComplaint": Status.COMPLAINED,
    "Unsubscribe": Status.UNSUBSCRIBED,
}
_WITHOUT_STATUS: Mapping[str, str] = {
    "Click": "click",
    "Inbound": "inbound",
    # Answers to a mail that arrived, and what is about no mail of ours.
    **dict.fromkeys(("Subscribe", "AutoResponder", "AddressChange"), "reply"),
    **dict.fromkeys(("OpenRelayTest", "ChallengeVerification", "InboundError"), "reply"),
}
# The answer of the recipient's server, at the beginning of a bounce's details.
_REPLY = re.compile(r"(?:smtp;\s*)?([245]\d\d)(?!\d)(?:[ -]+([245]\.\d{1,3}\.\d{1,3})(?!\d))?", re.ASCII)


def read_report(request: WebhookRequest, login: wire.Login, *, stream: str) -> Report:
    """Check the user name and the password, then translate; raise the errors of the hook ``parse_webhook``."""
    wire.expect_basic_auth(request, login)
    match request.json():
        case {"RecordType": str()} as body:
            return wire.collect_events([body], partial(_status_event, stream=stream))
        case {"FromFull": _}:
            return Report(ignored={"inbound": 1})
    raise BadWebhook("the body has no RecordType: create the webhook in the message stream, under Webhooks")


def suppression_status(reason: object, origin: object) -> Status | None:
    """Return what a suppression proves about its recipient; None where it proves no complaint and no opt-out."""
    if reason == "SpamComplaint":
        return Status.COMPLAINED
    return Status.UNSUBSCRIBED if (reason, origin) == ("ManualSuppression", "Recipient") else None


def _status_event(body: Mapping[str, Any], stream: str) -> StatusEvent | str:
    """Return the status of a webhook, or the name under which one without a status is counted."""
    match body:
        case {"RecordType": "Bounce", "Type": str(kind)} if kind in _BOUNCES:
            reply = _REPLY.match(str(body.get("Details")))
            return _event(
                body, _BOUNCES[kind], " ".join([kind, *filter(None, reply.groups() if reply else ())])
            )
        case {"RecordType": "SubscriptionChange", "SuppressSending": True, "Recipient": str(recipient)}:
            # A hard bounce is reported as a bounce too, and an operator's own entry is no opt-out.
            status = suppression_status(body.get("SuppressionReason"), body.get("Origin"))
            # What a user does in another stream may be about mails of another system.
            known = recipient if body.get("MessageStream", stream) == stream else ""
            return _event(body, status, str(body["SuppressionReason"]), known) if status else "suppressed"
        case {"RecordType": "SubscriptionChange", "SuppressSending": False}:
            return "reactivated"
        case {"RecordType": kind} if kind in _STATUSES:
            return _event(body, _STATUSES[kind])
    kind = body.get("Type") if body["RecordType"] == "Bounce" else body["RecordType"]
    return _WITHOUT_STATUS.get(str(kind), "unknown")


def _event(body: Mapping[str, Any], status: Status, code: str = "", recipient: str = "") -> StatusEvent:
    metadata = body.get("Metadata")
    return StatusEvent(
        status=status,
        message_id=wire.own_id(metadata.get(ID_FIELD) if isinstance(metadata, dict) else None),
        provider_id=wire.safe_id(body.get("MessageID")),
        recipient=Secret(recipient) if recipient else None,
        code=code,
    )
