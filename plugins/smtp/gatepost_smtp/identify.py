"""Which of our messages a mail is about: our id, wherever it came back."""

import re
from collections.abc import Iterator
from email.message import Message
from typing import NamedTuple

from gatepost_smtp.addresses import find_return_path, is_message_id
from gatepost_smtp.mail_parts import field, fields, own_parts, returned, text, texts
from gatepost_smtp.settings import Settings

_MESSAGE_ID = re.compile(r"<([0-9a-f-]{36})@")
_SENT_TO = ("delivered-to", "x-original-to", "envelope-to", "to")


class Arrived(NamedTuple):
    """A mail that arrived: the headers that speak of it, and its own parts."""

    heads: list[Message]
    """The mail itself, and before it the one that it was an attachment of."""
    parts: list[Message]


def arrived(message: Message, *outer: Message) -> Arrived:
    """Take a mail apart; ``outer`` is the one that it was attached to."""
    return Arrived([*outer, message], list(own_parts(message)))


def find_message_id(mail: Arrived, blocks: list[Message], settings: Settings) -> str:
    """Our id out of a mail and the ``blocks`` of its report; empty where none of ours is found.

    A signed return path counts before all else: it can't be forged.
    """
    if settings.bounce_domain and settings.webhook_secret:
        secret = settings.webhook_secret.reveal()
        for place in _return_paths(mail, blocks):
            if found := find_return_path(place, settings.bounce_domain, secret):
                return found
    for block in blocks:
        envelope_id = field(block, "original-envelope-id").strip()
        if is_message_id(envelope_id):
            return envelope_id
    for place in _message_ids(mail):
        for named in _MESSAGE_ID.findall(place):
            if is_message_id(named):
                return str(named)
    return ""


def _return_paths(mail: Arrived, blocks: list[Message]) -> Iterator[str]:
    """Where a return path of ours may stand."""
    for head in mail.heads:
        yield from fields(head, *_SENT_TO)
    for block in blocks:
        yield from fields(block, "original-mail-from")
    for message in _returned(mail):
        yield from fields(message, "return-path")
    yield from map(text, texts(mail.parts))


def _message_ids(mail: Arrived) -> Iterator[str]:
    """Where our Message-ID may stand, the surest place first."""
    for message in _returned(mail):
        yield field(message, "message-id")
    # Outlook returns nothing, but answers.
    for head in mail.heads:
        yield from fields(head, "in-reply-to")
        for references in fields(head, "references"):
            yield from reversed(references.split())
    # Where the mail is returned inside of the text.
    yield from map(text, texts(mail.parts))


def _returned(mail: Arrived) -> Iterator[Message]:
    return (message for part in mail.parts for message in returned(part))
