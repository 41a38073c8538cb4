"""Copies of a plugin's results and errors: only fields of the contract, of the right types, redacted and bounded."""

import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from gatepost.errors import (
    BadSignature,
    BadWebhook,
    NoVerificationKey,
    Rejected,
    SendError,
    Unavailable,
    Uncertain,
    WebhookError,
    WebhookRetry,
)
from gatepost.model import BLOCKED, Contact, Report, Secret, Status, StatusEvent
from gatepost.observe import redaction

SEND_ERRORS = (Rejected, Unavailable, Uncertain)
"""The errors that a sending hook may raise."""

WEBHOOK_ERRORS = (NoVerificationKey, BadSignature, BadWebhook, WebhookRetry)
"""The errors that ``parse_webhook`` may raise."""

MAX_REASON_LENGTH = 200
"""Characters that are stored of a reason."""

MAX_CODE_LENGTH = 64
"""Characters that are stored of a provider's code, or of the name of a type."""

MAX_ID_LENGTH = 255
"""Characters of an id. A longer one is dropped, because a shortened id would never match again."""

MAX_REDACTED_LENGTH = 8_000
"""Characters of a text that are kept and searched for private values; the rest is dropped first."""

MAX_ATTRIBUTES = 1_000
"""Attributes that a contact may have."""

MAX_IGNORED_KINDS = 32
"""Kinds of ignored events that are counted separately, for each instance."""

_MAX_RETRY_AFTER = 1e9
# It looks like a phone number to the redaction, and is none: "550 5.7.26".
_SMTP_CODE = re.compile(r"[245][0-9]{2}[ -][245]\.[0-9]{1,3}\.[0-9]{1,3}")
_IGNORED_KIND = re.compile(r"[a-z][a-z0-9_ -]{0,31}")


class InvalidResult(Exception):
    """A plugin returned something that the contract does not allow.

    The text says what is wrong and quotes nothing that the plugin returned.
    """


class CheckedReport(NamedTuple):
    """A copy of a Report, and how many of its events were valid."""

    report: Report
    returned: int
    """Events that the plugin returned."""
    invalid: int
    """How many of these are not in the copy."""


def copy_send_error(error: BaseException) -> SendError:
    """Copy an error of a sending hook, without its cause and traceback."""
    reason = clean_text(getattr(error, "reason", ""), MAX_REASON_LENGTH)
    code = clean_code(getattr(error, "code", ""))
    if isinstance(error, Unavailable):
        after: object = getattr(error, "retry_after", None)
        usable = isinstance(after, int | float) and -_MAX_RETRY_AFTER < after < _MAX_RETRY_AFTER
        return Unavailable(
            reason,
            code=code,
            retry_after=float(cast("float", after)) if usable else None,
            misconfigured=getattr(error, "misconfigured", False) is True,
            message_only=getattr(error, "message_only", False) is True,
            content_only=getattr(error, "content_only", False) is True,
        )
    return Rejected(reason, code=code) if isinstance(error, Rejected) else Uncertain(reason, code=code)


def copy_webhook_error(error: BaseException) -> WebhookError:
    """Copy an error of ``parse_webhook``, without its cause and traceback."""
    error_type = next(one for one in WEBHOOK_ERRORS if isinstance(error, one))
    return error_type(clean_text(str(error), MAX_REASON_LENGTH))


def copy_contact(contact: object) -> Contact:
    """Copy a Contact; raises InvalidResult for anything else."""
    if not isinstance(contact, Contact):
        raise InvalidResult(f"returned {type_name(contact)} instead of a Contact")
    mapping: object = contact.attributes
    if not isinstance(mapping, Mapping):
        raise InvalidResult("returned a Contact whose attributes are not a mapping")
    if len(mapping) > MAX_ATTRIBUTES:
        raise InvalidResult(f"returned a Contact with more than {MAX_ATTRIBUTES} attributes")
    attributes: dict[Any, Any] = dict(mapping)
    addresses: list[object] = [value for value in (contact.email, contact.phone) if value is not None]
    texts: list[object] = [contact.blocked, *attributes, *attributes.values()]
    texts += [value.reveal() if isinstance(value, Secret) else None for value in addresses]
    for text in texts:
        if not isinstance(text, str):
            raise InvalidResult("returned a Contact with values of the wrong type")
    blocked = str.__str__(contact.blocked)
    if blocked:
        # Never empty: a reason of which nothing is left still blocks the user.
        blocked = clean_text(blocked, MAX_CODE_LENGTH, contact.email, contact.phone) or BLOCKED
    return Contact(email=contact.email, phone=contact.phone, attributes=attributes, blocked=blocked)


def copy_report(report: object, ignored_kinds: set[str]) -> CheckedReport:
    """Copy a Report without its invalid events, which are added to the ignored ones as ``invalid``.

    ``ignored_kinds`` has the kinds that this instance has used so far; new ones are added to it. Raises
    InvalidResult for anything but a Report.
    """
    if not isinstance(report, Report):
        raise InvalidResult(f"returned {type_name(report)} instead of a Report")
    # Only a list or a tuple: another iterable may be endless.
    listed: object = report.events
    if not isinstance(listed, list | tuple) or not isinstance(report.ignored, Mapping):
        raise InvalidResult("returned a Report without a list of events")
    returned = list(listed)
    events = [event for event in map(copy_event, returned) if event is not None]
    ignored = _copy_ignored(report.ignored, ignored_kinds)
    invalid = len(returned) - len(events)
    if invalid:
        ignored["invalid"] = ignored.get("invalid", 0) + invalid
    return CheckedReport(Report(events=events, ignored=ignored), len(returned), invalid)


def copy_event(event: object) -> StatusEvent | None:
    """Copy an event; None when it has no valid status or no valid id of a message."""
    if not isinstance(event, StatusEvent) or not isinstance(event.status, Status):
        return None
    message_id, provider_id = clean_id(event.message_id), clean_id(event.provider_id)
    if not (message_id or provider_id):
        return None
    return StatusEvent(
        status=event.status, message_id=message_id, provider_id=provider_id, code=clean_code(event.code)
    )


def _copy_ignored(counts: Mapping[Any, Any], kinds: set[str]) -> dict[str, int]:
    """Copy the counts of ignored events by kind.

    A kind becomes a label of a metric: there must be few of them, and none may hold private data.
    """
    ignored: dict[str, int] = {}
    for kind, count in itertools.islice(counts.items(), MAX_IGNORED_KINDS):
        if not isinstance(count, int) or count < 0:
            continue
        valid = isinstance(kind, str) and _IGNORED_KIND.fullmatch(kind) is not None
        if valid and len(kinds) < MAX_IGNORED_KINDS:
            kinds.add(kind)
        name = kind if valid and kind in kinds else "other"
        ignored[name] = ignored.get(name, 0) + int(count)
    return ignored


def clean_id(text: object) -> str:
    """Return an id unchanged; empty when it is not a printable text of at most MAX_ID_LENGTH characters."""
    if not isinstance(text, str):
        return ""
    # As a plain str: a subclass of str may override any method.
    text = str.__str__(text)
    return text if len(text) <= MAX_ID_LENGTH and text.isprintable() else ""


def clean_code(text: object) -> str:
    """Return a provider's code redacted, printable and of at most MAX_CODE_LENGTH characters."""
    if isinstance(text, str) and _SMTP_CODE.fullmatch(text):
        return text
    return clean_text(text, MAX_CODE_LENGTH)


def clean_text(text: object, max_length: int, *values: redaction.Private) -> str:
    """Return a text redacted, printable and of at most ``max_length`` characters; empty when it is not a text.

    ``values`` are removed from it besides the values that are private now.
    """
    if not isinstance(text, str):
        return ""
    text = str.__str__(text)
    if len(text) > MAX_REDACTED_LENGTH:
        # Cut between words: the redaction would not recognise half an address.
        text = text[:MAX_REDACTED_LENGTH].rpartition(" ")[0]
    printable = (letter if letter.isprintable() else " " for letter in redaction.redact(text, *values))
    return "".join(printable).strip()[:max_length]


def type_name(value: object) -> str:
    """Return the name of a value's type, which a plugin may have chosen, as a clean text."""
    return clean_text(type(value).__name__, MAX_CODE_LENGTH)
