"""What Mail Send accepts: the types of a mail, and the rules that types can't express."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import msgspec

# Headers that SendGrid writes itself, in lower case.
_RESERVED = frozenset(
    {
        *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
        *("to", "from", "subject", "reply-to", "cc", "bcc"),
    }
)
_CONTENT_ORDER = ("text/plain", "text/x-amp-html", "text/html")

_NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]
_Category = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a mail in which unknown fields, null and wrong types are errors."""


class _Address(_Strict):
    email: _NonEmpty
    name: str | msgspec.UnsetType = msgspec.UNSET


class _Content(_Strict):
    type: _NonEmpty
    value: _NonEmpty


class _Personalization(_Strict):
    to: Annotated[list[_Address], msgspec.Meta(min_length=1)]
    cc: Annotated[list[_Address], msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    bcc: Annotated[list[_Address], msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    subject: _NonEmpty | msgspec.UnsetType = msgspec.UNSET
    headers: dict[str, str] = {}
    custom_args: dict[str, str] = {}


class _Switch(_Strict):
    enable: bool


class _ClickTracking(_Switch):
    enable_text: bool | msgspec.UnsetType = msgspec.UNSET


class _Tracking(_Strict):
    click_tracking: _ClickTracking | msgspec.UnsetType = msgspec.UNSET
    open_tracking: _Switch | msgspec.UnsetType = msgspec.UNSET


class _MailSettings(_Strict):
    sandbox_mode: _Switch | msgspec.UnsetType = msgspec.UNSET


class Mail(_Strict, kw_only=True, rename={"sender": "from"}):
    """The body of a Mail Send request."""

    personalizations: Annotated[list[_Personalization], msgspec.Meta(min_length=1, max_length=1000)]
    sender: _Address
    reply_to: _Address | msgspec.UnsetType = msgspec.UNSET
    subject: str = ""
    content: Annotated[list[_Content], msgspec.Meta(min_length=1)]
    headers: dict[str, str] = {}
    custom_args: dict[str, str] = {}
    categories: Annotated[list[_Category], msgspec.Meta(max_length=10)] = []
    tracking_settings: _Tracking | msgspec.UnsetType = msgspec.UNSET
    mail_settings: _MailSettings = msgspec.field(default_factory=_MailSettings)


Error = tuple[str | None, str]
"""The field, where the error is in one, and what is wrong."""


def error_body(errors: Sequence[Error]) -> object:
    """Return the body of an answer that names these errors."""
    return {"errors": [{"message": problem, "field": field, "help": None} for field, problem in errors]}


def check(body: bytes) -> tuple[Mail | None, list[Error]]:
    """Return the mail that a request's body holds, None where it can't be read, and what is wrong with it."""
    try:
        mail = msgspec.json.decode(body, type=Mail)
    except msgspec.ValidationError as error:
        return None, [_located(error)]
    except ValueError:
        return None, [(None, "Bad Request")]
    return mail, list(_rule_errors(mail))


def _located(error: msgspec.ValidationError) -> Error:
    """Return the field as the vendor names it (``personalizations.0.to.0.email``) and what is wrong."""
    problem, _, path = str(error).partition(" - at `")
    steps = re.sub(r"\[(\w+|\.\.\.)\]", r".\1", path.rstrip("`").removeprefix("$")).split(".")[1:]
    if missing := re.search(r"missing required field `(\w+)`", problem):
        steps.append(missing[1])
    return ".".join(steps) or None, problem


def _rule_errors(mail: Mail) -> Iterator[Error]:
    """Yield what the types can't express."""
    if not mail.subject and any(one.subject is msgspec.UNSET for one in mail.personalizations):
        yield "subject", "The subject is required."
    if not _is_address(mail.sender.email):
        yield "from.email", "Does not contain a valid address."
    if mail.reply_to is not msgspec.UNSET and not _is_address(mail.reply_to.email):
        yield "reply_to.email", "Does not contain a valid address."
    yield from _content_errors(mail.content)
    yield from _header_errors("headers", mail.headers)
    if len(set(mail.categories)) != len(mail.categories):
        yield "categories", "The categories must be unique."
    recipients = 0
    for number, one in enumerate(mail.personalizations):
        where = f"personalizations.{number}"
        yield from _recipient_errors(where, one)
        yield from _header_errors(f"{where}.headers", one.headers)
        if len(msgspec.json.encode(mail.custom_args | one.custom_args)) >= 10_000:
            yield f"{where}.custom_args", "The custom arguments must stay under 10000 bytes."
        recipients += len(list(_recipients(one)))
    if recipients > 1000:
        yield "personalizations", "There is a limit of 1000 recipients in a request."


def _content_errors(content: Sequence[_Content]) -> Iterator[Error]:
    for number, part in enumerate(content):
        if re.search(r"[;\r\n]", part.type):
            yield f"content.{number}.type", "The content type must not contain ; or line ends."
    places = [_CONTENT_ORDER.index(part.type) for part in content if part.type in _CONTENT_ORDER]
    if places != sorted(set(places)):
        yield "content", "If present, text/plain must be first, followed by text/x-amp-html and text/html."


def _header_errors(where: str, headers: Mapping[str, str]) -> Iterator[Error]:
    for name in headers:
        if name.lower() in _RESERVED:
            yield f"{where}.{name}", "The header is reserved."
        elif not re.fullmatch(r"[!-9;-~]+", name):
            yield where, "A header's name must be printable ASCII."


def _recipients(personalization: _Personalization) -> Iterator[tuple[str, _Address]]:
    for kind in ("to", "cc", "bcc"):
        addresses = getattr(personalization, kind)
        for number, address in enumerate(() if addresses is msgspec.UNSET else addresses):
            yield f"{kind}.{number}", address


def _recipient_errors(where: str, personalization: _Personalization) -> Iterator[Error]:
    for place, address in _recipients(personalization):
        if not _is_address(address.email):
            yield f"{where}.{place}.email", "Does not contain a valid address."
    emails = sorted(address.email.lower() for _, address in _recipients(personalization))
    if any(one == other for one, other in itertools.pairwise(emails)):
        yield where, "Each address should be unique between to, cc and bcc."


def _is_address(text: str) -> bool:
    return bool(
        re.fullmatch(r"[!#-'*+\-/-9=?A-Z^-~]+(\.[!#-'*+\-/-9=?A-Z^-~]+)*@[\w-]+(\.[\w-]+)+", text, re.ASCII)
    )
