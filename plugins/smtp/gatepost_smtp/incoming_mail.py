"""Incoming mails: their own parts, the mails that they return, their fields and texts. Pure functions."""

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from email.policy import compat32
from typing import NamedTuple

_MAX_PARTS = 100
_MAX_DEPTH = 4


class IncomingMail(NamedTuple):
    """A mail that may report on one of ours."""

    headers: list[Message]
    """The mails whose headers count: first a mail that this one is attached to, last the mail itself."""
    parts: list[Message]
    """The mail and its own parts."""


def incoming_mail(message: Message, *enclosing: Message) -> IncomingMail:
    """Split a mail into its parts; ``enclosing`` is the mail that it is attached to."""
    return IncomingMail([*enclosing, message], list(_own_parts(message)))


def _own_parts(message: Message, depth: int = 0) -> Iterator[Message]:
    """Yield the mail and its own parts, without the parts of a returned mail."""
    yield message
    if message.get_content_maintype() == "multipart" and depth < _MAX_DEPTH:
        for part in _children(message)[:_MAX_PARTS]:
            yield from _own_parts(part, depth + 1)


def _children(message: Message) -> list[Message]:
    """Return the direct parts of a multipart, or the mail in a message/rfc822."""
    # Only of these: the payload of a text part is decoded, and that fails for some declared charsets.
    payload = message.get_payload() if message.is_multipart() else []
    return [part for part in payload if isinstance(part, Message)]


def field_blocks(part: Message) -> list[Message]:
    """Return the blocks of fields in a report's part.

    The parser knows the blocks of a delivery-status. It takes the first block of another kind of report for the headers
    of a mail and the others for its text, and it may leave all of them as text.
    """
    children = _children(part)
    texts = [decoded_text(child) for child in children or [part]]
    blocks = [block for text in texts if text for block in re.split(r"\r?\n\r?\n", text)]
    return [*children, *(HeaderParser(policy=compat32).parsestr(block) for block in blocks)]


def decoded_text(part: Message) -> str:
    """Return a part's text without its transfer encoding, one character per byte; empty for a multipart."""
    decoded = part.get_payload(decode=True)
    return decoded.decode("latin-1") if isinstance(decoded, bytes) else ""


def text_parts(parts: list[Message]) -> Iterator[Message]:
    """Yield the parts that are text."""
    return (part for part in parts if part.get_content_maintype() == "text" and not _children(part))


def returned_messages(part: Message) -> list[Message]:
    """Return the mail that this part of a report returns, all of it or only its headers."""
    content_type = part.get_content_type()
    if content_type in {"message/rfc822", "message/global"}:
        return _children(part)
    if content_type in {"text/rfc822-headers", "message/global-headers"}:
        return _children(part) or field_blocks(part)[:1]
    return []


def field(message: Message, name: str) -> str:
    """Return the first field with this name; empty if there is none."""
    return next(iter(fields(message, name)), "")


def fields(message: Message, *names: str) -> list[str]:
    """Return all fields with these names."""
    return [str(value) for name in names for value in message.get_all(name, [])]
