"""The bodies of Postmark's webhooks, which quote addresses as the vendor's do. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatepost.model import Status
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost_postmark.testing.mail_rules import addresses

SERVER_ID = 23

BOUNCE_TYPES: Mapping[str, int] = {
    "HardBounce": 1,
    "Transient": 2,
    "Unsubscribe": 16,
    "Subscribe": 32,
    "AutoResponder": 64,
    "AddressChange": 128,
    "DnsError": 256,
    "SpamNotification": 512,
    "OpenRelayTest": 1024,
    "Unknown": 2048,
    "SoftBounce": 4096,
    "VirusNotification": 8192,
    "ChallengeVerification": 16384,
    "BadEmailAddress": 100000,
    "ManuallyDeactivated": 100002,
    "Unconfirmed": 100003,
    "Blocked": 100006,
    "SMTPApiError": 100007,
    "InboundError": 100008,
    "DMARCPolicy": 100009,
    "TemplateRenderingFailed": 100010,
}
"""The types of bounces, and the code of each."""

_DETAILS: Mapping[str, str] = {
    "HardBounce": "smtp;550 5.1.1 <{email}>: no such mailbox",
    "SoftBounce": "smtp;452 4.2.2 <{email}> is over quota",
}

# The changes of a subscription: whether sending is suppressed, for what reason, and by whom.
_CHANGES: Mapping[str, tuple[bool, str | None, str]] = {
    "unsubscribed": (True, "ManualSuppression", "Recipient"),
    "complaint_suppression": (True, "SpamComplaint", "Recipient"),
    "bounce_suppression": (True, "HardBounce", "Recipient"),
    "manual_suppression": (True, "ManualSuppression", "Customer"),
    "reactivated": (False, None, "Customer"),
}

MEANINGS: Mapping[str, Sequence[Status]] = {
    "Delivery": [Status.DELIVERED],
    "HardBounce": [Status.FAILED],
    "SoftBounce": [Status.FAILED],
    "Transient": [Status.FAILED],
    "DnsError": [Status.FAILED],
    "Unknown": [Status.FAILED],
    "Blocked": [Status.FAILED],
    "SpamNotification": [Status.FAILED],
    "VirusNotification": [Status.FAILED],
    "DMARCPolicy": [Status.FAILED],
    "ManuallyDeactivated": [Status.REJECTED],
    "BadEmailAddress": [Status.REJECTED],
    "Unconfirmed": [Status.REJECTED],
    "SMTPApiError": [Status.REJECTED],
    "TemplateRenderingFailed": [Status.REJECTED],
    "SpamComplaint": [Status.COMPLAINED],
    "complaint_suppression": [Status.COMPLAINED],
    "Open": [Status.OPENED],
    "unsubscribed": [Status.UNSUBSCRIBED],
    "Unsubscribe": [Status.UNSUBSCRIBED],
    "Subscribe": [],
    "AutoResponder": [],
    "AddressChange": [],
    "OpenRelayTest": [],
    "ChallengeVerification": [],
    "InboundError": [],
    "Click": [],
    "bounce_suppression": [],
    "manual_suppression": [],
    "reactivated": [],
    "Inbound": [],
}
"""The statuses that each kind of webhook means."""

_READER: Mapping[str, Any] = {
    "Client": {"Name": "Chrome 140", "Company": "Google", "Family": "Chrome"},
    "OS": {"Name": "macOS 26", "Company": "Apple Computer, Inc.", "Family": "macOS"},
    "Platform": "WebMail",
    "UserAgent": "Mozilla/5.0",
    "Geo": {"CountryISOCode": "GB", "City": "London", "IP": "192.0.2.2"},
}


def webhook_body(kind: str, taken: TakenMessage, now: str) -> Event:
    """Return the body of a webhook of this kind about a mail."""
    message = taken.message
    email = addresses(message["To"])[0][1]
    common = {
        "MessageStream": message.get("MessageStream", "outbound"),
        "MessageID": taken.provider_id,
        "Metadata": message.get("Metadata", {}),
        "Tag": message.get("Tag", ""),
    }
    if kind in BOUNCE_TYPES or kind == "SpamComplaint":
        return common | _bounce(kind, email, message, now)
    if kind in _CHANGES:
        return common | _change(kind, email, now)
    if kind == "Inbound":
        return _inbound(email, taken)
    return common | {"RecordType": kind, "Recipient": email} | _activity(kind, email, now)


def _activity(kind: str, email: str, now: str) -> Event:
    """Return the fields of a delivery, an open or a click."""
    if kind == "Delivery":
        return {"ServerID": SERVER_ID, "DeliveredAt": now, "Details": f"250 2.0.0 OK <{email}>"}
    if kind == "Open":
        return {"ReceivedAt": now, "FirstOpen": True, "ReadSeconds": 5, **_READER}
    link = f"https://example.com/?to={email}"
    return {"ReceivedAt": now, "ClickLocation": "HTML", "OriginalLink": link, **_READER}


def _bounce(kind: str, email: str, message: Mapping[str, Any], now: str) -> Event:
    details = _DETAILS.get(kind, "Test details about {email}").format(email=email)
    return {
        "RecordType": "SpamComplaint" if kind == "SpamComplaint" else "Bounce",
        "ID": 692560173,
        "Type": kind,
        "TypeCode": BOUNCE_TYPES.get(kind, 100001),
        "Name": kind,
        "ServerID": SERVER_ID,
        "Description": f"What happened to {email}.",
        "Details": details,
        "Email": email,
        "From": addresses(message["From"])[0][1],
        "BouncedAt": now,
        "DumpAvailable": True,
        "Inactive": kind in {"HardBounce", "SpamComplaint"},
        "CanActivate": kind == "HardBounce",
        "Subject": message.get("Subject", ""),
    }


def _change(kind: str, email: str, now: str) -> Event:
    suppress, reason, origin = _CHANGES[kind]
    change = {
        "RecordType": "SubscriptionChange",
        "ServerID": SERVER_ID,
        "ChangedAt": now,
        "Recipient": email,
        "Origin": origin,
        "SuppressSending": suppress,
        "SuppressionReason": reason,
    }
    if origin == "Recipient":
        return change
    # What the operator does is about no mail.
    return change | {"MessageID": None, "Metadata": {}, "Tag": None}


def _inbound(email: str, taken: TakenMessage) -> Event:
    return {
        "FromName": "",
        "MessageStream": "inbound",
        "From": email,
        "FromFull": {"Email": email, "Name": "", "MailboxHash": ""},
        "To": "hash@inbound.example",
        "ToFull": [{"Email": "hash@inbound.example", "Name": "", "MailboxHash": ""}],
        "Subject": "Re: a mail",
        "MessageID": taken.provider_id,
        "Date": "Thu, 5 Nov 2026 16:33:54 -0500",
        "TextBody": f"Hello, I am {email}",
        "Headers": [{"Name": "X-Spam-Status", "Value": "No"}],
        "Attachments": [],
    }
