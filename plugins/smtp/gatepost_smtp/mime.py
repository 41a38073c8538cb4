"""The mail itself, as bytes.

Built by hand: the parts are always base64, so nothing in a body can end the mail, start a header or
need 8BITMIME, and building one costs a fiftieth of what the standard library's EmailMessage takes.
The tests read arbitrary mails back with the standard library's parser.
"""

import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from gatepost.errors import Rejected
from gatepost.model import Email, Mailbox
from gatepost_smtp.addresses import is_address
from gatepost_smtp.words import encoded_words, fold, refuse_control

_LINE = 76
_HEADERS = re.compile(rb"(?:[A-Z][A-Za-z-]*: [^\x00-\x1f\x7f]+\r\n(?: [^\x00-\x1f\x7f]+\r\n)*)+")
_NAME = re.compile(rb"^([A-Z][A-Za-z-]*): ", re.MULTILINE)


class Mail(NamedTuple):
    """A finished mail and whether it asks for SMTPUTF8."""

    content: bytes
    """Lines end in CRLF and are at most 998 bytes long; not yet dot-stuffed."""
    utf8: bool
    """An address in it has a local part that is not ASCII."""


def build(message: Email, *, date: datetime | None = None) -> Mail:
    """Write the mail; ``date`` defaults to now.

    Raises Rejected for what can't be put into a mail: a control character in a header (also behind an
    encoded word), a lone surrogate or NUL anywhere, an address that is not a plain one, no content.
    """
    recipient = message.recipient.reveal()
    mailboxes = [message.sender] + ([message.reply_to] if message.reply_to else [])
    if not is_address(recipient):
        raise Rejected("the recipient's address is not one that SMTP can carry")
    if not all(is_address(mailbox.address) for mailbox in mailboxes):
        raise Rejected("the sender's or the reply address is not one that SMTP can carry")
    head = [
        ("Date", format_datetime(date or datetime.now(UTC))),
        ("From", _mailbox("From", message.sender)),
        ("To", recipient),
    ]
    if message.reply_to:
        head.append(("Reply-To", _mailbox("Reply-To", message.reply_to)))
    domain = message.sender.address.rpartition("@")[2]
    head += [
        ("Subject", _unstructured("Subject", message.subject)),
        ("Message-ID", f"<{message.id}@{domain}>"),
        ("MIME-Version", "1.0"),
    ]
    more, body = _content(message)
    # RFC 5322 wants something behind the colon and the space, and an empty subject needs no header.
    headers = _checked([(name, value) for name, value in head + more if value])
    addresses = [recipient, *(mailbox.address for mailbox in mailboxes)]
    return Mail(headers + b"\r\n" + body, not all(address.isascii() for address in addresses))


def _mailbox(field: str, mailbox: Mailbox) -> str:
    name = mailbox.name
    refuse_control(f"the name in {field}", name)
    if not name:
        return mailbox.address
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    phrase = f'"{escaped}"'
    if not name.isascii() or "=?" in name or len(field) + 2 + len(phrase) > _LINE:
        phrase = encoded_words(name, len(field) + 2)
    last_line = len(phrase.rpartition("\n")[2]) + (0 if "\n" in phrase else len(field) + 2)
    gap = " " if last_line + len(mailbox.address) + 3 <= _LINE else "\r\n "
    return f"{phrase}{gap}<{mailbox.address}>"


def _unstructured(field: str, text: str) -> str:
    refuse_control(field, text)
    return fold(text, len(field) + 2) or encoded_words(text, len(field) + 2)


def _content(message: Email) -> tuple[list[tuple[str, str]], bytes]:
    """The Content headers and the body behind the blank line; no part is ever empty."""
    parts = [
        (f"text/{kind}; charset=utf-8", _base64(text))
        for kind, text in (("plain", message.text), ("html", message.html))
        if text.strip()
    ]
    if not parts:
        raise Rejected("the message has neither text nor HTML")
    if len(parts) == 1:
        kind, encoded = parts[0]
        return [("Content-Type", kind), ("Content-Transfer-Encoding", "base64")], encoded
    # An underscore and an equals sign in front never occur in base64: no part can hold the boundary.
    boundary = f"=_{message.id}"
    return (
        [("Content-Type", f'multipart/alternative;\r\n boundary="{boundary}"')],
        b"".join(_parts(parts, boundary)),
    )


def _parts(parts: list[tuple[str, bytes]], boundary: str) -> Iterator[bytes]:
    for kind, encoded in parts:
        yield (f"--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n").encode(
            "ascii"
        )
        yield encoded
    yield f"--{boundary}--\r\n".encode("ascii")


def _base64(text: str) -> bytes:
    # RFC 2045 §6.8: a text's line ends are CRLF before it is encoded.
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        encoded = b"\x00"
    if b"\x00" in encoded:
        raise Rejected("the body holds NUL or a lone surrogate")
    flat = binascii.b2a_base64(encoded, newline=False)
    lines = [flat[start : start + _LINE] for start in range(0, len(flat), _LINE)]
    return b"\r\n".join(lines) + b"\r\n"


def _checked(headers: list[tuple[str, str]]) -> bytes:
    """The header block, read back: what goes out holds these headers and no other."""
    block = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
    names = [name.decode("ascii") for name in _NAME.findall(block)]
    if (
        not _HEADERS.fullmatch(block)
        or names != [name for name, _ in headers]
        or max(map(len, block.split(b"\r\n"))) > 998
    ):
        raise Rejected("the headers can't be written safely")
    return block
