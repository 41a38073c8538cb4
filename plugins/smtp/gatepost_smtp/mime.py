"""The mail as bytes. Pure functions.

It is built without the standard library's EmailMessage, which takes fifty times as long. The parts are always
encoded, so that nothing in a body can end the mail, start a header or need 8BITMIME. The tests parse arbitrary
mails with the standard library.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from time import time
from typing import NamedTuple

from gatepost.errors import Rejected
from gatepost.model import Email, Mailbox
from gatepost_smtp.addresses import is_address
from gatepost_smtp.header_text import encoded_words, fold, reject_control_characters
from gatepost_smtp.transfer_encoding import Encoded, encode_text

_MAX_LINE_LENGTH = 76
_MAX_LINE_BYTES = 998
_CACHED_SENDERS = 256
_HEADER_BLOCK = re.compile(rb"(?:[A-Za-z][A-Za-z0-9-]*: [^\x00-\x1f\x7f]+\r\n(?: [^\x00-\x1f\x7f]+\r\n)*)+")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_CLIENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_OWN_HEADERS = frozenset(
    {
        *("date", "from", "to", "cc", "bcc", "sender", "reply-to", "subject", "message-id", "mime-version"),
        *("content-type", "content-transfer-encoding", "return-path", "received"),
    }
)
"""Headers that the mail has of its own, and those that servers write or would send it on by."""


class Mail(NamedTuple):
    """A mail that is ready to be sent."""

    content: bytes
    """Lines end with CRLF and have at most 998 bytes; not yet dot-stuffed."""
    utf8: bool
    """Whether an address has a non-ASCII local part, so that the mail needs SMTPUTF8."""


def build_mail(message: Email, *, sent_at: int | None = None) -> Mail:
    """Build the mail; ``sent_at``, in seconds since the epoch, defaults to now.

    Raises Rejected if a header holds a control character (also one hidden in an encoded word), if there is a
    lone surrogate or NUL anywhere, if an address is not a plain one, or if there is no content.
    """
    recipient = message.recipient.reveal()
    if not is_address(recipient):
        raise Rejected("the recipient's address is not one plain address")
    sender = _mailbox("From", message.sender)
    reply_to = _mailbox("Reply-To", message.reply_to) if message.reply_to else ""
    domain = message.sender.address.rpartition("@")[2]
    headers = [
        ("Date", _date(int(time()) if sent_at is None else sent_at)),
        ("From", sender),
        ("To", recipient),
        ("Reply-To", reply_to),
        ("Subject", _unstructured("Subject", message.subject)),
        ("Message-ID", f"<{message.id}@{domain}>"),
        ("MIME-Version", "1.0"),
        *_further_headers(message),
        *_stream_headers(message),
    ]
    content_headers, body = _content(message)
    # RFC 5322 allows no empty header, and an empty subject needs none.
    block = _header_block([header for header in [*headers, *content_headers] if header[1]])
    return Mail(block + b"\r\n" + body, not (recipient + sender + reply_to).isascii())


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


@lru_cache(maxsize=_CACHED_SENDERS)
def _mailbox(field: str, mailbox: Mailbox) -> str:
    """Return a mailbox as the value of From or Reply-To; cached, because a campaign has only one."""
    if not is_address(mailbox.address):
        raise Rejected("the sender's or the reply-to address is not one plain address")
    name = mailbox.name
    reject_control_characters(f"the name in {field}", name)
    if not name:
        return mailbox.address
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    phrase = f'"{escaped}"'
    if not name.isascii() or "=?" in name or len(field) + 2 + len(phrase) > _MAX_LINE_LENGTH:
        phrase = encoded_words(name, len(field) + 2)
    last_line = len(phrase.rpartition("\n")[2]) + (0 if "\n" in phrase else len(field) + 2)
    separator = " " if last_line + len(mailbox.address) + 3 <= _MAX_LINE_LENGTH else "\r\n "
    return f"{phrase}{separator}<{mailbox.address}>"


def _unstructured(field: str, text: str) -> str:
    reject_control_characters(field, text)
    return fold(text, len(field) + 2) or encoded_words(text, len(field) + 2)


def _further_headers(message: Email) -> Iterator[tuple[str, str]]:
    """Yield the message's own headers, such as List-Unsubscribe; raise Rejected for one that the mail has anyway."""
    for name, value in message.headers.items():
        if name.lower() in _OWN_HEADERS:
            raise Rejected(f"the header {name[:40]!a} can't be set")
        if not _HEADER_NAME.fullmatch(name):
            raise Rejected("a header's name is invalid")
        reject_control_characters("a header", value)
        # A long URL stays whole: an encoded word in its place could not be followed.
        yield name, fold(value, len(name) + 2) or value


def _stream_headers(message: Email) -> Iterator[tuple[str, str]]:
    """Yield the headers that say what kind of mail it is, without those that the message has itself."""
    own = {name.lower() for name in message.headers}
    if "feedback-id" not in own and _CLIENT.fullmatch(message.client):
        # Gmail counts complaints by these four fields; the last one names who sends. A route's name is not for recipients.
        yield "Feedback-ID", f":{message.client}::gatepost"
    if "list-unsubscribe" in own and "auto-submitted" not in own:
        # RFC 3834: holiday notices do not answer it. Only for campaigns: a help desk ignores a mail that has it.
        yield "Auto-Submitted", "auto-generated"


def _content(message: Email) -> tuple[list[tuple[str, str]], bytes]:
    """Return the Content headers and the body; no part is empty."""
    parts = [
        (f"text/{subtype}; charset=utf-8", encode_text(text))
        for subtype, text in (("plain", message.text), ("html", message.html))
        if text.strip()
    ]
    if not parts:
        raise Rejected("the message has neither text nor HTML")
    if len(parts) == 1:
        content_type, encoded = parts[0]
        return [("Content-Type", content_type), ("Content-Transfer-Encoding", encoded.name)], encoded.content
    # No encoding has these two characters together, so that no part can hold the boundary.
    boundary = f"=_{message.id}"
    return (
        [("Content-Type", f'multipart/alternative;\r\n boundary="{boundary}"')],
        b"".join(_parts(parts, boundary)),
    )


def _parts(parts: list[tuple[str, Encoded]], boundary: str) -> Iterator[bytes]:
    for content_type, encoded in parts:
        headers = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoded.name}"
        yield f"--{boundary}\r\n{headers}\r\n\r\n".encode("ascii")
        yield encoded.content
    yield f"--{boundary}--\r\n".encode("ascii")


def _header_block(headers: Sequence[tuple[str, str]]) -> bytes:
    """Return the header block; check that it holds these headers, whose names are valid, and no others."""
    block = "".join([f"{name}: {value}\r\n" for name, value in headers]).encode()
    if (
        not _HEADER_BLOCK.fullmatch(block)
        # Each header begins a line, so if these lines are as many as the headers, no value holds another header.
        or block.count(b"\r\n") - block.count(b"\r\n ") != len(headers)
        or max(map(len, block.split(b"\r\n"))) > _MAX_LINE_BYTES
    ):
        raise Rejected("the headers can't be written safely")
    return block
