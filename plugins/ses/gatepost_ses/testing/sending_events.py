"""The events that SES publishes, and the notifications of an identity without a configuration set."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gatepost.testing.report_sender import TakenMessage

_BOUNCE_STATUSES = {"Permanent": "5.1.1", "Transient": "4.2.2", "Undetermined": "5.0.0"}


def sending_event(kind: str, taken: TakenMessage) -> dict[str, Any]:
    """Return an event of a kind such as ``Delivery``, ``Bounce:Transient:General`` or ``Complaint:abuse``.

    With ``v1:`` before it, it is a notification of the identity.
    """
    is_notification = kind.startswith("v1:")
    name, *words = kind.removeprefix("v1:").split(":")
    recipient = taken.message["Destination"]["ToAddresses"][0]
    mail = {
        "timestamp": _now(),
        "source": taken.message["FromEmailAddress"],
        "sourceArn": "arn:aws:ses:eu-west-1:123456789012:identity/example.com",
        "sendingAccountId": "123456789012",
        "messageId": taken.provider_id,
        "destination": [recipient],
        "headersTruncated": False,
        "headers": [{"name": "To", "value": recipient}],
        "commonHeaders": {"to": [recipient], "messageId": taken.provider_id},
    }
    part, fields = _PARTS.get(name, _no_part)(recipient, *words)
    details = {part: {"timestamp": _now(), **fields}} if part else {}
    if is_notification:
        return {"notificationType": name, "mail": mail, **details}
    tags = {tag["Name"]: [tag["Value"]] for tag in taken.message["EmailTags"]}
    mail["tags"] = {"ses:configuration-set": ["reports"], "ses:caller-identity": ["gatepost"], **tags}
    return {"eventType": name, "mail": mail, **details}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


_Part = tuple[str, Mapping[str, Any]]


def _no_part(recipient: str, *_: str) -> _Part:
    return "other", {"to": recipient}


def _bounce(recipient: str, kind: str, subtype: str, report: str = "dsn") -> _Part:
    status = _BOUNCE_STATUSES[kind]
    code = f"smtp; 550 {status} <{recipient}> is not known here"
    dsn = {"action": "failed", "status": status, "diagnosticCode": code} if report == "dsn" else {}
    return "bounce", {
        "bounceType": kind,
        "bounceSubType": subtype,
        "bouncedRecipients": [{"emailAddress": recipient, **dsn}],
        "feedbackId": secrets.token_hex(8),
        **({"reportingMTA": "dns; mx.example.com"} if dsn else {}),
    }


def _complaint(recipient: str, kind: str = "", subtype: str = "") -> _Part:
    return "complaint", {
        "complainedRecipients": [{"emailAddress": recipient}],
        "feedbackId": secrets.token_hex(8),
        "complaintSubType": subtype or None,
        **({"complaintFeedbackType": kind, "userAgent": "Feedback/1.0"} if kind else {}),
    }


def _delivery(recipient: str) -> _Part:
    return "delivery", {"recipients": [recipient], "smtpResponse": f"250 2.6.0 <{recipient}> received"}


def _delay(recipient: str, kind: str = "MailboxFull") -> _Part:
    code = f"smtp; 452 4.2.2 <{recipient}> over quota"
    delayed = [{"emailAddress": recipient, "status": "4.2.2", "diagnosticCode": code}]
    return "deliveryDelay", {"delayType": kind, "delayedRecipients": delayed, "expirationTime": _now()}


def _click(recipient: str) -> _Part:
    link = f"https://example.com/?to={recipient}"
    return "click", {"ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0", "link": link, "linkTags": None}


def _subscription(recipient: str, choice: str = "all") -> _Part:
    topics = [{"topicName": "news", "subscriptionStatus": "OptOut" if choice == "topic" else "OptIn"}]
    default = [{"topicName": "OptOut", "subscriptionStatus": "OptOut"}]
    new = {
        "unsubscribeAll": choice == "all",
        "topicSubscriptionStatus": topics,
        "topicDefaultSubscriptionStatus": default,
    }
    old = {"unsubscribeAll": False, "topicSubscriptionStatus": []}
    return "subscription", {
        "contactList": "players",
        "source": f"UnsubscribeHeader {recipient}",
        "newTopicPreferences": new,
        "oldTopicPreferences": old,
    }


_PARTS: Mapping[str, Any] = {
    "Send": lambda _: ("send", {}),
    "Delivery": _delivery,
    "DeliveryDelay": _delay,
    "Bounce": _bounce,
    "Complaint": _complaint,
    "Reject": lambda _: ("reject", {"reason": "Bad content"}),
    "Rendering Failure": lambda to: ("failure", {"templateName": "a", "errorMessage": f"for {to}"}),
    "Open": lambda _: ("open", {"ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0"}),
    "Click": _click,
    "Subscription": _subscription,
}
