"""The stored form of a message's content, and the reference that is stored in place of a preview's address."""

import hashlib
import hmac

import msgspec

from gatepost.config.client import Client
from gatepost.model import Channel, Mailbox, Secret


class EmailContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored part of an email; it contains nothing about the recipient."""

    sender: Mailbox
    reply_to: Mailbox | None = None
    subject: str
    html: str
    text: str | None = None
    """None: the request brought no text, and no text has been derived from the HTML yet."""
    merge_fields: bool = False
    """Whether its merge fields are to be filled: it has some, and they were checked when it arrived."""

    def __repr__(self) -> str:
        return "<EmailContent>"


class SmsContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored part of a text message; it contains nothing about the recipient."""

    sender: str | None = None
    text: str
    merge_fields: bool = False
    """As in EmailContent."""

    def __repr__(self) -> str:
        return "<SmsContent>"


_encode = msgspec.msgpack.Encoder().encode
_email = msgspec.msgpack.Decoder(EmailContent)
_sms = msgspec.msgpack.Decoder(SmsContent)


def encode_content(content: EmailContent | SmsContent) -> bytes:
    """Return the bytes to store, for ``decode_content``."""
    return _encode(content)


def decode_content(channel: Channel, data: bytes) -> EmailContent | SmsContent:
    """Return the content from its stored bytes; raise ValueError when they can't be decoded."""
    return _email.decode(data) if channel is Channel.EMAIL else _sms.decode(data)


def preview_reference(message_id: str, address: Secret) -> str:
    """Return what is stored instead of the address of a preview's recipient: 32 hex digits.

    They lead back to the address only together with the configuration that lists it.
    """
    return hmac.new(message_id.encode(), address.reveal().encode(), hashlib.sha256).hexdigest()[:32]


def preview_recipient(client: Client, message_id: str, reference: str) -> Secret | None:
    """Return the ``preview_recipients`` entry of the reference; None when it is no longer listed."""
    for address in client.preview_recipients:
        if hmac.compare_digest(preview_reference(message_id, address), reference):
            return address
    return None
