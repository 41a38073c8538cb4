"""The events of Mailgun's webhooks, which quote addresses as the vendor's do. Pure functions."""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gatepost.model import Status
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost_mailgun.testing.form_rules import addresses, value

# The fields of each kind of event, beside those that all have.
_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "accepted": {"method": "HTTP"},
    "rejected": {
        "reject": {"reason": "Sandbox subdomains are for test purposes only: {email}", "description": ""}
    },
    "delivered": {"delivery-status": {"code": 250, "message": "OK {email}", "attempt-no": 1, "utf8": True}},
    "temporary_fail": {
        "event": "failed",
        "severity": "temporary",
        "reason": "generic",
        "delivery-status": {
            "code": 451,
            "enhanced-code": "4.7.652",
            "message": "{email}",
            "retry-seconds": 600,
        },
    },
    "permanent_fail": {
        "event": "failed",
        "severity": "permanent",
        "reason": "bounce",
        "delivery-status": {
            "code": 550,
            "enhanced-code": "5.1.1",
            "message": "no mailbox {email}",
            "attempt-no": 1,
        },
    },
    **{
        f"suppress-{cause}": {
            "event": "failed",
            "severity": "permanent",
            "reason": f"suppress-{cause}",
            "delivery-status": {"code": code, "message": "", "description": "Not delivering to {email}"},
        }
        for cause, code in (("bounce", 605), ("unsubscribe", 606), ("complaint", 607))
    },
    "opened": {
        "ip": "192.0.2.2",
        "client-info": {"client-name": "Chrome", "user-agent": "Mozilla/5.0", "bot": ""},
    },
    "machine_open": {"event": "opened", "client-info": {"client-name": "unknown", "bot": "apple"}},
    "clicked": {
        "url": "https://example.com/?to={email}",
        "client-info": {"client-name": "Chrome", "bot": ""},
    },
    "complained": {},
    "unsubscribed": {"client-info": {"client-name": "Chrome", "bot": ""}},
    "stored": {"storage": {"key": "x", "url": "https://storage.example/x"}},
}

MEANINGS: Mapping[str, Sequence[Status]] = {
    "accepted": [Status.ACCEPTED],
    "rejected": [Status.REJECTED],
    "delivered": [Status.DELIVERED],
    "temporary_fail": [Status.ACCEPTED],
    "permanent_fail": [Status.FAILED],
    "suppress-bounce": [Status.REJECTED],
    "suppress-complaint": [Status.COMPLAINED, Status.REJECTED],
    "suppress-unsubscribe": [Status.UNSUBSCRIBED, Status.REJECTED],
    "opened": [Status.OPENED],
    "machine_open": [],
    "clicked": [],
    "complained": [Status.COMPLAINED],
    "unsubscribed": [Status.UNSUBSCRIBED],
    "stored": [],
}
"""The statuses that each kind of event means."""


def event_data(kind: str, taken: TakenMessage, domain: str) -> Event:
    """Return the event of this kind about a mail."""
    form = [tuple(pair) for pair in taken.message]
    email = addresses(value(form, "to"))[0][1]
    variables = {name[2:]: text for name, text in form if name.startswith("v:")}
    headers = {
        "to": email,
        "message-id": taken.provider_id,
        "from": value(form, "from"),
        "subject": value(form, "subject"),
    }
    data = {
        "event": kind,
        "id": secrets.token_urlsafe(16),
        "timestamp": time.time(),
        "log-level": "info",
        "account": {"id": "1234567890303a4bd1f33898"},
        "domain": {"name": domain},
        "recipient": email,
        "recipient-domain": email.rpartition("@")[2],
        "envelope": {"transport": "smtp", "sender": addresses(value(form, "from"))[0][1], "targets": email},
        "flags": {"is-authenticated": True, "is-test-mode": False},
        "message": {"headers": headers, "attachments": [], "size": 341},
        "tags": [text for name, text in form if name == "o:tag"],
        "campaigns": [],
        # An empty list where there is none, as the vendor's.
        "user-variables": variables or [],
    }
    own: Event = _filled(_FIELDS[kind], email)
    return data | own


def _filled(fields: Any, email: str) -> Any:
    if isinstance(fields, Mapping):
        return {name: _filled(own, email) for name, own in fields.items()}
    return fields.replace("{email}", email) if isinstance(fields, str) else fields
