"""Mails that arrive, taken apart: their own parts, what they return, fields and texts."""

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from email.policy import compat32

_MAX_PARTS = 100
_MAX_DEPTH = 4


def own_parts(message: Message, depth: int = 0) -> Iterator[Message]:
    """The mail and its own parts; what is inside a returned mail is not the mail's word."""
    yield message
    if message.get_content_maintype() == "multipart" and depth < _MAX_DEPTH:
        for part in children(message)[:_MAX_PARTS]:
            yield from own_parts(part, depth + 1)


def children(message: Message) -> list[Message]:
    """The parts right below one, or the mail inside of a message/rfc822."""
    payload = message.get_payload()
    return [part for part in payload if isinstance(part, Message)] if isinstance(payload, list) else []


def blocks(part: Message) -> list[Message]:
    """The blocks of fields of a part, whether the parser already took it for a message or for a text."""
    return children(part) or [
        HeaderParser(policy=compat32).parsestr(block) for block in re.split(r"\r?\n\r?\n", text(part))
    ]


def text(part: Message) -> str:
    """A part's text without its transfer encoding, one character a byte; empty where it has parts itself."""
    decoded = part.get_payload(decode=True)
    return decoded.decode("latin-1") if isinstance(decoded, bytes) else ""


def texts(parts: list[Message]) -> Iterator[Message]:
    """Those of the parts that are text."""
    return (part for part in parts if part.get_content_maintype() == "text" and not children(part))


def returned(part: Message) -> list[Message]:
    """The mail that a report returns, whole or only its headers."""
    kind = part.get_content_type()
    if kind in {"message/rfc822", "message/global"}:
        return children(part)
    if kind in {"text/rfc822-headers", "message/global-headers"}:
        return children(part) or blocks(part)[:1]
    return []


def field(message: Message, name: str) -> str:
    """The first field of this name; empty where there is none."""
    return next(iter(fields(message, name)), "")


def fields(message: Message, *names: str) -> list[str]:
    """All fields of these names."""
    return [str(value) for name in names for value in message.get_all(name, [])]
