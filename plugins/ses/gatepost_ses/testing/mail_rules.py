"""What SendEmail accepts: the types of its request, and the rules that types can't express."""

import re
from collections.abc import Iterator, Sequence
from email.header import decode_header, make_header
from email.utils import parseaddr
from typing import Annotated

import msgspec
from msgspec import Meta

MAX_MAIL = 40 * 1024 * 1024
"""Bytes of the largest mail."""

_ADDRESS = re.compile(r"[!#-'*+\-/-9=?A-Z^-~.]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")

_Ascii = Annotated[str, Meta(pattern=r"^[\x00-\x7f]*$")]
_Tag = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,256}$")]


class _Strict(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """A part of a request, which has no field that the service's model does not name."""


class _Subject(_Strict):
    data: _Ascii
    charset: str = "UTF-8"


class _Part(_Strict):
    data: str
    charset: str = "ascii"

    def __post_init__(self) -> None:
        # Without a charset a part is ASCII.
        self.data.encode(self.charset)


class _Body(_Strict):
    text: _Part | None = None
    html: _Part | None = None


class _Header(_Strict):
    name: Annotated[str, Meta(pattern=r"^[!-9;-@A-~]{1,126}$")]
    value: Annotated[str, Meta(pattern=r"^[ -~]{1,995}$")]


class _Simple(_Strict):
    subject: _Subject
    body: _Body
    headers: Annotated[list[_Header], Meta(max_length=15)] = []


class _Content(_Strict):
    simple: _Simple


class _Destination(_Strict):
    to_addresses: Annotated[list[_Ascii], Meta(max_length=50)] = []
    cc_addresses: Annotated[list[_Ascii], Meta(max_length=50)] = []
    bcc_addresses: Annotated[list[_Ascii], Meta(max_length=50)] = []


class _MessageTag(_Strict):
    name: _Tag
    value: _Tag


class _Contacts(_Strict):
    contact_list_name: str
    topic_name: str = ""


class Mail(_Strict):
    """The body of a SendEmail request with simple content."""

    from_email_address: _Ascii
    destination: _Destination
    content: _Content
    reply_to_addresses: list[_Ascii] = []
    email_tags: Annotated[list[_MessageTag], Meta(max_length=50)] = []
    configuration_set_name: str = ""
    list_management_options: _Contacts | None = None

    @property
    def recipients(self) -> Sequence[str]:
        """Everybody it goes to."""
        to = self.destination
        return [*to.to_addresses, *to.cc_addresses, *to.bcc_addresses]


def read_mail(body: bytes) -> Mail:
    """Return the mail that a request holds; raise ValueError with everything that SES finds invalid."""
    try:
        mail = msgspec.json.decode(body, type=Mail)
    except (msgspec.DecodeError, LookupError, ValueError) as error:
        raise ValueError(str(error)) from None
    if faults := list(_faults(mail)):
        raise ValueError("; ".join(faults))
    return mail


def _faults(mail: Mail) -> Iterator[str]:
    simple = mail.content.simple
    if simple.body.text is None and simple.body.html is None:
        yield "The message has no body."
    if not mail.recipients:
        yield "There is no recipient."
    for one in (mail.from_email_address, *mail.recipients, *mail.reply_to_addresses):
        if not _ADDRESS.fullmatch(parseaddr(one)[1]):
            yield f"Illegal address: {one}"
    if re.search(r"[\r\n]", mail.from_email_address + simple.subject.data):
        yield "A header has a control character."
    names = [tag.name for tag in mail.email_tags]
    if len({*names}) != len(names):
        yield "Duplicate message tag."


def name_and_address(text: str) -> tuple[str, str]:
    """Return the display name, decoded, and the address."""
    name, address = parseaddr(text)
    return decoded(name), address


def decoded(text: str) -> str:
    """Return a text with its encoded words decoded; the newer parser of ``email`` puts spaces between them."""
    return str(make_header(decode_header(text)))
