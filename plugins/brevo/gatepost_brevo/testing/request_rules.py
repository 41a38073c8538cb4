"""What Brevo's two sends accept: every parameter that it documents, with its type and its limits."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

_Address = Annotated[str, Meta(pattern=r"\A[^@\s]+@[^@\s]+\.[^@\s]+\Z")]
_Text = Annotated[str, Meta(min_length=1)]
_Url = Annotated[str, Meta(pattern=r"\Ahttps?://\S+\Z")]
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_STANDARD_HEADERS = frozenset(
    {
        *("from", "to", "cc", "bcc", "subject", "reply-to", "sender", "date", "message-id", "received"),
        *("mime-version", "content-type", "content-transfer-encoding", "dkim-signature", "return-path"),
    }
)

Error = tuple[str, str]
"""Brevo's code and its message."""


class _Strict(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A part of a request in which unknown fields, null and wrong types are errors."""


class _Sender(_Strict):
    email: _Address | UnsetType = UNSET
    name: Annotated[str, Meta(min_length=1, max_length=70)] | UnsetType = UNSET
    id: int | UnsetType = UNSET


class _Person(_Strict):
    email: _Address
    name: Annotated[str, Meta(min_length=1, max_length=70)] | UnsetType = UNSET


class _Recipient(_Person):
    contact_pixel_tracking_consent: bool | UnsetType = UNSET


class _Attachment(_Strict):
    url: _Url | UnsetType = UNSET
    content: _Text | UnsetType = UNSET
    name: _Text | UnsetType = UNSET


class Mail(_Strict, kw_only=True):
    """The body of ``POST /v3/smtp/email``."""

    sender: _Sender | UnsetType = UNSET
    to: Annotated[list[_Recipient], Meta(min_length=1, max_length=99)] | UnsetType = UNSET
    cc: Annotated[list[_Person], Meta(min_length=1)] | UnsetType = UNSET
    bcc: Annotated[list[_Person], Meta(min_length=1)] | UnsetType = UNSET
    reply_to: _Person | UnsetType = UNSET
    subject: str = ""
    html_content: str = ""
    text_content: str = ""
    template_id: int | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET
    headers: dict[str, str] = {}
    tags: Annotated[list[_Text], Meta(min_length=1)] | UnsetType = UNSET
    attachment: Annotated[list[_Attachment], Meta(min_length=1)] | UnsetType = UNSET
    message_versions: Annotated[list[dict[str, Any]], Meta(min_length=1)] | UnsetType = UNSET
    scheduled_at: str | UnsetType = UNSET
    batch_id: Annotated[str, Meta(pattern=_UUID.pattern)] | UnsetType = UNSET


class Text(_Strict, kw_only=True):
    """The body of ``POST /v3/transactionalSMS/sms``."""

    sender: Annotated[str, Meta(pattern=r"\A(?:[A-Za-z0-9]{1,11}|[0-9]{12,15})\Z")] | UnsetType = UNSET
    recipient: Annotated[str, Meta(pattern=r"\A\+?[0-9]{6,15}\Z")] | UnsetType = UNSET
    content: str = ""
    template_id: int | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET
    type: Literal["transactional", "marketing"] = "transactional"
    tag: _Text | Annotated[list[_Text], Meta(min_length=1, max_length=10)] | UnsetType = UNSET
    web_url: _Url | UnsetType = UNSET
    unicode_enabled: bool = False
    organisation_prefix: _Text | UnsetType = UNSET


def read_mail(body: bytes) -> Mail | Error:
    """Return the mail of a request, or what Brevo would say against it."""
    mail = _decode(body, Mail)
    if isinstance(mail, tuple):
        return mail
    if mail.to is UNSET and mail.message_versions is UNSET:
        return "missing_parameter", "to is missing"
    if mail.template_id is UNSET:
        if mail.sender is UNSET or (mail.sender.email is UNSET and mail.sender.id is UNSET):
            return "missing_parameter", "sender is missing"
        for name, value in (("subject", mail.subject), ("htmlContent", mail.html_content)):
            if not value:
                return "missing_parameter", f"{name} is missing"
    return _header_error(mail.headers) or mail


def read_text(body: bytes) -> Text | Error:
    """Return the text message of a request, or what Brevo would say against it."""
    text = _decode(body, Text)
    if isinstance(text, tuple):
        return text
    missing = [name for name in ("sender", "recipient") if getattr(text, name) is UNSET]
    if not text.content and text.template_id is UNSET:
        missing.append("content")
    return ("missing_parameter", f"{missing[0]} is missing") if missing else text


def sent_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers that the mail has: their names in the form that Brevo converts them to."""
    own = ("idempotencykey", "sender.ip", "x-mailin-custom")
    return {
        "-".join(word[:1].upper() + word[1:] for word in name.split("-")): value
        for name, value in headers.items()
        if name.lower() not in own
    }


def _header_error(headers: Mapping[str, str]) -> Error | None:
    for name, value in headers.items():
        if name.lower() in _STANDARD_HEADERS or not re.fullmatch(r"[!-9;-~]+", name):
            return "invalid_parameter", f"headers: {name} is not a header of your own"
        if name.lower() == "idempotencykey" and not _UUID.fullmatch(value):
            return "invalid_parameter", "headers: idempotencyKey must be a UUID"
    return None


def _decode(body: bytes, wanted: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=wanted)
    except msgspec.ValidationError as error:
        return "invalid_parameter", str(error)
    except (ValueError, RecursionError):
        return "bad_request", "Input must be a valid JSON object"


def tags_of(values: Sequence[str] | str | UnsetType) -> Sequence[str]:
    """Return tags, of which a single one may stand alone."""
    if values is UNSET:
        return ()
    return [values] if isinstance(values, str) else list(values)
