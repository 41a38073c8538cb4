"""What ``POST /email`` accepts: the fields of a mail, and the rules that their types can't express."""

import re
from collections.abc import Iterator, Sequence
from email.utils import getaddresses
from typing import Annotated, Any, Literal

import msgspec

MAX_BODY = 5 * 1024 * 1024
"""Bytes of the largest text and of the largest HTML."""
MAX_RECIPIENTS = 50

INVALID_JSON = 402
INVALID_FIELD = 403
INVALID_MAIL = 300

# Headers that have fields of their own, or that Postmark writes itself; in lower case.
_OWN_HEADERS = frozenset(
    {
        *("from", "to", "cc", "bcc", "reply-to", "sender", "subject", "date", "received", "return-path"),
        *("content-type", "tag", "attachment", "track-opens", "track-links", "message-stream", "x-pm-rcpt"),
    }
)
_ADDRESS = re.compile(r"[!#-'*+\-/-9=?A-Z^-~]+(\.[!#-'*+\-/-9=?A-Z^-~]+)*@[\w-]+(\.[\w-]+)+", re.ASCII)

_Metadata = dict[str, str]


class _Header(msgspec.Struct, forbid_unknown_fields=True, rename="pascal"):
    name: Annotated[str, msgspec.Meta(pattern=r"^[!-9;-~]+$")]
    value: str


class _Attachment(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="pascal"):
    name: str
    content: bytes
    content_type: str
    content_id: str | None = msgspec.field(name="ContentID", default=None)


class Mail(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="pascal"):
    """The body of a request."""

    from_: str = msgspec.field(name="From")
    to: str
    cc: str = ""
    bcc: str = ""
    subject: str = ""
    tag: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    html_body: str = ""
    text_body: str = ""
    reply_to: str = ""
    headers: list[_Header] = []
    attachments: list[_Attachment] = []
    track_opens: bool = False
    track_links: Literal["None", "HtmlAndText", "HtmlOnly", "TextOnly"] = "None"
    metadata: _Metadata = {}
    message_stream: str = "outbound"


def addresses(field: str) -> Sequence[tuple[str, str]]:
    """Return the names and addresses of a field, which commas outside of quotes separate."""
    return getaddresses([field]) if field else []


def fields(body: bytes) -> dict[str, Any]:
    """Return the fields of a request's body; null is a field that is not there. Raises ValueError."""
    found = msgspec.json.decode(body, type=dict[str, Any])
    return {name: value for name, value in found.items() if value is not None}


def decode(body: bytes) -> tuple[Mail | None, int, str]:
    """Return the mail of a request's body; None, and an ErrorCode with its text, where it can't be read."""
    try:
        return msgspec.convert(fields(body), type=Mail), 0, ""
    except msgspec.ValidationError as error:
        return None, INVALID_FIELD, f"Invalid request field(s): {error}"
    except (ValueError, RecursionError):
        return None, INVALID_JSON, "The JSON is invalid."


def faults(mail: Mail) -> Iterator[str]:
    """Yield what is wrong with a mail; each is an invalid email request."""
    yield from _address_faults(mail)
    if _utf16_length(mail.subject) > 2000:
        yield "The 'Subject' is longer than 2000 characters."
    if not mail.html_body and not mail.text_body:
        yield "Provide either email TextBody or HtmlBody or both."
    if any(len(content.encode()) > MAX_BODY for content in (mail.html_body, mail.text_body)):
        yield "The body is larger than 5 MB."
    for header in mail.headers:
        if header.name.lower() in _OWN_HEADERS:
            yield f"The header '{header.name}' is not allowed."
    yield from _metadata_faults(mail.metadata)


def _address_faults(mail: Mail) -> Iterator[str]:
    recipients = [one for field in (mail.to, mail.cc, mail.bcc) for one in addresses(field)]
    if not 0 < len(recipients) <= MAX_RECIPIENTS:
        yield f"There must be 1 to {MAX_RECIPIENTS} recipients."
    if len(addresses(mail.from_)) != 1 or _utf16_length(mail.from_) > 255:
        yield "The 'From' address must be one, of at most 255 characters."
    parts = {"From": mail.from_, "To": mail.to, "Cc": mail.cc, "Bcc": mail.bcc, "ReplyTo": mail.reply_to}
    for name, field in parts.items():
        if any(not _ADDRESS.fullmatch(address) for _, address in addresses(field)):
            yield f"Invalid '{name}' address: '{field}'."


def _metadata_faults(metadata: _Metadata) -> Iterator[str]:
    if len(metadata) > 10:
        yield "Metadata can have at most 10 fields."
    if len({name.lower() for name in metadata}) < len(metadata):
        yield "Metadata has a field twice."
    if any(not 0 < len(name) <= 20 or len(value) > 80 for name, value in metadata.items()):
        yield "Metadata names can have 20 characters, and values 80."


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
