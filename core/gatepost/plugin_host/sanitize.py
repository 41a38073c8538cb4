"""Copies of a plugin's results and errors: only fields of the contract, of the right types, redacted and bounded."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

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
from gatepost.model import BLOCKED, Contact, Secret, Status
from gatepost.observe import redaction

SEND_ERRORS = (Rejected, Unavailable, Uncertain)
"""The errors that a sending hook may raise."""

USER_STATUSES = (Status.UNSUBSCRIBED, Status.COMPLAINED)
"""The statuses that a Rejected may have: what users have said. All others contradict it."""

WEBHOOK_ERRORS = (NoVerificationKey, BadSignature, BadWebhook, WebhookRetry)
"""The errors that ``parse_webhook`` may raise."""

MAX_REASON_LENGTH = 200
"""Characters that are stored of a reason."""

MAX_WARNING_LENGTH = 1_200
"""Characters that are shown of a warning. One that says which DNS record to publish may hold an RSA key of 4096 bits."""

MAX_CODE_LENGTH = 64
"""Characters that are stored of a provider's code, or of the name of a type."""

MAX_ID_LENGTH = 255
"""Characters of an id. A longer one is dropped, because a shortened id would never match again."""

MAX_REDACTED_LENGTH = 8_000
"""Characters of a text that are kept and searched for private values; the rest is dropped first."""

MAX_ATTRIBUTES = 1_000
"""Attributes that a contact may have."""

MAX_ATTRIBUTES_LENGTH = 65_536
"""Characters of their names and values together: merge fields filter and escape them on the event loop."""

MAX_USERS = 100
"""Users that may have the same number or address."""

MAX_USER_ID_LENGTH = 512
"""Characters of an ext_user_id."""

_MAX_RETRY_AFTER = 1e9
# It looks like a phone number to the redaction, and is none: "550 5.7.26".
_SMTP_CODE = re.compile(r"[245][0-9]{2}[ -][245]\.[0-9]{1,3}\.[0-9]{1,3}")


class InvalidResult(Exception):
    """A plugin returned something that the contract does not allow.

    The text says what is wrong and quotes nothing that the plugin returned.
    """


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
    if isinstance(error, Rejected):
        return Rejected(reason, code=code, status=_user_status(getattr(error, "status", None)))
    return Uncertain(reason, code=code)


def _user_status(status: object) -> Status | None:
    # Not isinstance: that asks the object itself, which may raise an error.
    return status if type(status) is Status and status in USER_STATUSES else None


def copy_webhook_error(error: BaseException) -> WebhookError:
    """Copy an error of ``parse_webhook``, without its cause and traceback."""
    error_type = next(one for one in WEBHOOK_ERRORS if isinstance(error, one))
    return error_type(clean_text(str(error), MAX_REASON_LENGTH))


def copy_contact(contact: object) -> Contact:
    """Copy a Contact; raises InvalidResult for anything else."""
    if not isinstance(contact, Contact):
        raise InvalidResult(f"returned {type_name(contact)} instead of a Contact")
    mapping: object = contact.attributes
    if type(mapping) is not dict and not isinstance(mapping, Mapping):
        raise InvalidResult("returned a Contact whose attributes are not a mapping")
    if len(mapping) > MAX_ATTRIBUTES:
        raise InvalidResult(f"returned a Contact with more than {MAX_ATTRIBUTES} attributes")
    attributes: dict[Any, Any] = dict(mapping)
    length = 0
    reason: object = contact.blocked
    is_valid = isinstance(reason, str) and _is_address(contact.email) and _is_address(contact.phone)
    for name, value in attributes.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            is_valid = False
            break
        length += len(name) + len(value)
    if not is_valid:
        raise InvalidResult("returned a Contact with values of the wrong type")
    if length > MAX_ATTRIBUTES_LENGTH:
        raise InvalidResult(
            f"returned a Contact with more than {MAX_ATTRIBUTES_LENGTH:,} characters of attributes"
        )
    copy = Contact(email=contact.email, phone=contact.phone, attributes=attributes)
    blocked = str.__str__(contact.blocked)
    if not blocked:
        return copy
    # Never empty: a reason of which nothing is left still blocks the user. It goes to Smartico, with code 13.
    reason = clean_text(blocked, MAX_CODE_LENGTH, copy) or BLOCKED
    return msgspec.structs.replace(copy, blocked=reason)


def _is_address(value: object) -> bool:
    return value is None or (isinstance(value, Secret) and isinstance(value.reveal(), str))


def copy_contacts(
    found: object, ext_user_ids: Iterable[str]
) -> dict[str, Contact | SendError | InvalidResult]:
    """Copy the contacts of these users, and no others; in the place of a wrong one is what is wrong with it.

    Raises InvalidResult for anything but a mapping.
    """
    if not isinstance(found, Mapping):
        raise InvalidResult(f"returned {type_name(found)} instead of a mapping")
    copies: dict[str, Contact | SendError | InvalidResult] = {}
    for one in ext_user_ids:
        if one in found:
            contact = found[one]
            try:
                copies[one] = (
                    copy_send_error(contact) if isinstance(contact, Unavailable) else copy_contact(contact)
                )
            except InvalidResult as error:
                copies[one] = error
    return copies


def copy_user_ids(found: object) -> list[str]:
    """Copy a list of ext_user_ids; raises InvalidResult for anything else, and for too many or invalid ones."""
    # Only a list or a tuple: another iterable may be endless.
    if not isinstance(found, list | tuple):
        raise InvalidResult(f"returned {type_name(found)} instead of a list of ext_user_ids")
    returned = list(found)
    if len(returned) > MAX_USERS:
        raise InvalidResult(f"returned more than {MAX_USERS} ext_user_ids")
    ids = [str.__str__(one) for one in returned if isinstance(one, str)]
    if len(ids) < len(returned) or not all(map(_is_user_id, ids)):
        raise InvalidResult(
            f"returned an ext_user_id that is not a text of 1 to {MAX_USER_ID_LENGTH} characters"
        )
    return ids


def _is_user_id(text: str) -> bool:
    """Return whether Smartico could know a user by this id: no store holds NUL or half a character."""
    return (
        0 < len(text) <= MAX_USER_ID_LENGTH
        and "\0" not in text
        and not any("\ud800" <= char <= "\udfff" for char in text)
    )


def clean_id(text: object) -> str:
    """Return an id unchanged; empty when it is not a printable text of at most MAX_ID_LENGTH characters."""
    if not isinstance(text, str):
        return ""
    # As a plain str: a subclass of str may override any method.
    text = str.__str__(text)
    return text if len(text) <= MAX_ID_LENGTH and text.isprintable() else ""


def clean_code(text: object, *values: redaction.Private) -> str:
    """Return a provider's code redacted, printable and of at most MAX_CODE_LENGTH characters."""
    if isinstance(text, str) and _SMTP_CODE.fullmatch(text):
        return str.__str__(text)
    return clean_text(text, MAX_CODE_LENGTH, *values)


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
    return _printable(redaction.redact(text, *values), max_length)


def clean_warning(text: object) -> str:
    """Return a text about a setting without secrets, printable and bounded; empty when it is not a text.

    What merely looks like an address or a number stays: settings hold those of the operator.
    """
    # Not isinstance: that asks the object itself, which may raise an error.
    if not issubclass(type(text), str):
        return ""
    assert isinstance(text, str)
    known = redaction.redact_values(str.__str__(text)[:MAX_REDACTED_LENGTH])
    return _printable(known, MAX_WARNING_LENGTH)


def _printable(text: str, max_length: int) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:max_length]


def type_name(value: object) -> str:
    """Return the name of a value's type, which a plugin may have chosen, as a clean text."""
    return clean_text(type(value).__name__, MAX_CODE_LENGTH)
