"""The events of SES, as they stand in the messages of its topic. Pure functions."""

import re

import msgspec

from gatepost import wire
from gatepost.model import Report, Status, StatusEvent

ID_TAG = "gp_id"

_STATUSES = {
    "Send": Status.ACCEPTED,
    # SES still tries to deliver it.
    "DeliveryDelay": Status.ACCEPTED,
    "Delivery": Status.DELIVERED,
    "Reject": Status.REJECTED,
    "Rendering Failure": Status.REJECTED,
    "Open": Status.OPENED,
}
# SES has not tried to deliver the mail.
_SUPPRESSED = {"Suppressed", "OnAccountSuppressionList"}
_SUBTYPES = _SUPPRESSED | {"Undetermined", "General", "NoEmail", "MailboxFull", "MessageTooLarge"}
_SUBTYPES |= {"ContentRejected", "AttachmentRejected"}
_DSN_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_IGNORED = {"Click": "click", "Complaint": "not_spam"}


class _Mail(msgspec.Struct, rename="camel"):
    message_id: str = ""
    tags: dict[str, list[str]] = {}


class _Recipient(msgspec.Struct, rename="camel"):
    status: str = ""


class _Bounce(msgspec.Struct, rename="camel"):
    bounce_sub_type: str = ""
    bounced_recipients: list[_Recipient] = []


class _Complaint(msgspec.Struct, rename="camel"):
    complaint_feedback_type: str = ""
    complaint_sub_type: str | None = None


class _Event(msgspec.Struct, rename="camel"):
    mail: _Mail
    event_type: str = ""
    # Where the identity itself notifies, without a configuration set; such events have no tags.
    notification_type: str = ""
    bounce: _Bounce = msgspec.field(default_factory=_Bounce)
    complaint: _Complaint = msgspec.field(default_factory=_Complaint)


def read_event(text: str) -> Report:
    """Translate the text of a verified message, which is one event; ignore any other text."""
    try:
        event = msgspec.json.decode(text, type=_Event)
    except (ValueError, RecursionError):
        return Report(ignored={"malformed": 1})
    kind = event.event_type or event.notification_type
    message_id = wire.safe_id("".join(event.mail.tags.get(ID_TAG, ())))
    provider_id = wire.safe_id(event.mail.message_id)
    code = _bounce_code(event.bounce) if kind == "Bounce" else ""
    events = [
        StatusEvent(status=status, message_id=message_id, provider_id=provider_id, code=code)
        for status in _statuses(kind, event)
    ]
    return wire.collect_events(events or [_IGNORED.get(kind, "unknown")], lambda item: item)


def _statuses(kind: str, event: _Event) -> list[Status]:
    if kind == "Bounce":
        # Of a transient bounce SES reports only the last: it has stopped trying.
        return [Status.REJECTED if event.bounce.bounce_sub_type in _SUPPRESSED else Status.FAILED]
    if kind == "Complaint":
        if event.complaint.complaint_feedback_type == "not-spam":
            return []
        suppressed = event.complaint.complaint_sub_type in _SUPPRESSED
        return [Status.REJECTED, Status.COMPLAINED] if suppressed else [Status.COMPLAINED]
    return [_STATUSES[kind]] if kind in _STATUSES else []


def _bounce_code(bounce: _Bounce) -> str:
    subtype = bounce.bounce_sub_type if bounce.bounce_sub_type in _SUBTYPES else ""
    statuses = [one.status for one in bounce.bounced_recipients if _DSN_STATUS.fullmatch(one.status)]
    return " ".join(filter(None, [subtype, *statuses[:1]]))
