"""The search for our message id in a mail that reports on a message of ours. Pure functions."""

import re
from collections.abc import Iterator
from email.message import Message

from gatepost_smtp.addresses import find_return_path, is_message_id
from gatepost_smtp.incoming_mail import (
    IncomingMail,
    decoded_text,
    field,
    fields,
    returned_messages,
    text_parts,
)
from gatepost_smtp.settings import Settings

_MESSAGE_ID = re.compile(r"<([0-9a-f-]{36})@")
_RECIPIENT_FIELDS = ("delivered-to", "x-original-to", "envelope-to", "to")


def find_message_id(mail: IncomingMail, blocks: list[Message], settings: Settings) -> str:
    """Return the message id in a mail and in the field ``blocks`` of its report; empty if there is none.

    A signed return path has priority, because it can't be forged.
    """
    if message_id := find_signed_id(mail, blocks, settings):
        return message_id
    for block in blocks:
        envelope_id = field(block, "original-envelope-id").strip()
        if is_message_id(envelope_id):
            return envelope_id
    for text in _message_id_sources(mail):
        for candidate in _MESSAGE_ID.findall(text):
            if is_message_id(candidate):
                return str(candidate)
    return ""


def find_signed_id(mail: IncomingMail, blocks: list[Message], settings: Settings) -> str:
    """Return the message id of a signed return path, which nobody can forge; empty if there is none."""
    if settings.bounce_domain:
        for text in _return_path_sources(mail, blocks):
            if message_id := find_return_path(text, settings.bounce_domain, settings.accepted_secrets):
                return message_id
    return ""


def _return_path_sources(mail: IncomingMail, blocks: list[Message]) -> Iterator[str]:
    """Yield the texts that may hold a return path of ours."""
    for header in mail.headers:
        yield from fields(header, *_RECIPIENT_FIELDS)
    for block in blocks:
        yield from fields(block, "original-mail-from")
    for message in _all_returned(mail):
        yield from fields(message, "return-path")
    yield from map(decoded_text, text_parts(mail.parts))


def _message_id_sources(mail: IncomingMail) -> Iterator[str]:
    """Yield the texts that may hold our Message-ID, the most reliable first."""
    for message in _all_returned(mail):
        yield field(message, "message-id")
    # Outlook returns no mail, but refers to it.
    for header in mail.headers:
        yield from fields(header, "in-reply-to")
        for references in fields(header, "references"):
            yield from reversed(references.split())
    # Some systems return the mail inside the text.
    yield from map(decoded_text, text_parts(mail.parts))


def _all_returned(mail: IncomingMail) -> Iterator[Message]:
    return (message for part in mail.parts for message in returned_messages(part))
