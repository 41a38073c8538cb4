"""The events of SES, as they stand in the messages of its topic. Pure functions."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from gatepost import wire
from gatepost.model import Report, Status, StatusEvent
from gatepost_ses.messages import ID_TAG

# What is no status is the name under which the event is counted.
_MEANINGS: Mapping[str, Status | str] = {
    "Send": Status.ACCEPTED,
    "DeliveryDelay": Status.ACCEPTED,
    "Delivery": Status.DELIVERED,
    "Bounce": Status.FAILED,
    "Complaint": Status.COMPLAINED,
    "Reject": Status.REJECTED,
    "Rendering Failure": Status.REJECTED,
    "Open": Status.OPENED,
    "Click": "click",
    "AmazonSnsSubscriptionSucceeded": "topic_test",
}
# The subtypes of what SES has not tried to deliver.
_UNTRIED = {"Suppressed", "OnAccountSuppressionList", "OnTenantSuppressionList", "EmailValidationSuppressed"}
_DSN_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


def read_event(text: str) -> Report:
    """Translate the text of a verified message, which is one event; count any other text."""
    try:
        event = msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError):
        is_test = text.startswith("Successfully validated SNS topic")
        return Report(ignored={"topic_test" if is_test else "malformed": 1})
    # An event has tags only with a configuration set.
    message_id = wire.safe_id(wire.resolve(event, ("mail", "tags", ID_TAG, "0")))
    provider_id = wire.safe_id(wire.resolve(event, ("mail", "messageId")))
    # SES's own word, and the status of the server's report, which may have been any text.
    kind = wire.resolve(event, ("bounce", "bounceSubType"))
    status = str(wire.resolve(event, ("bounce", "bouncedRecipients", "0", "status")))
    code = f"{wire.safe_code(kind)} {status if _DSN_STATUS.fullmatch(status) else ''}".strip()
    sent = StatusEvent(status=Status.ACCEPTED, message_id=message_id, provider_id=provider_id, code=code)
    return wire.collect_events(
        _meanings(event), lambda one: replace(sent, status=one) if isinstance(one, Status) else one
    )


def _meanings(event: Mapping[str, Any]) -> list[Status | str]:
    match event:
        case {"bounce": {"bounceSubType": str(kind)}} if kind in _UNTRIED:
            return [Status.REJECTED]
        case {"complaint": {"complaintSubType": str(kind)}} if kind in _UNTRIED:
            return [Status.COMPLAINED, Status.REJECTED]
        case {"complaint": {"complaintFeedbackType": "not-spam" | "auth-failure" as kind}}:
            return [kind.replace("-", "_")]
        case {
            "bounce": {"bounceType": "Transient", "bounceSubType": "General", "bouncedRecipients": [{**dsn}]}
        }:
            # Without a server's report it answers a mail that was delivered, as "out of office" does.
            return [Status.FAILED if dsn.keys() & {"action", "status"} else "automatic_reply"]
        case {"subscription": {"newTopicPreferences": {**new}}}:
            topics = str(new.get("topicSubscriptionStatus"))
            is_out = new.get("unsubscribeAll") is True or "'OptOut'" in topics
            return [Status.UNSUBSCRIBED if is_out else "preferences"]
    return [_MEANINGS.get(str(event.get("eventType") or event.get("notificationType")), "unknown")]
