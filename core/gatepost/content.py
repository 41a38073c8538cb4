"""The form in which a message's content is stored, and what is stored in place of a preview's address."""

import hashlib
import hmac

import msgspec

from gatepost.config.settings import Client
from gatepost.model import Channel, Mailbox, Secret


class EmailContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of an email is stored: nothing that says who gets it."""

    sender: Mailbox
    reply_to: Mailbox | None = None
    subject: str
    html: str
    text: str | None = None
    """None: none was sent, and none has been derived from the HTML yet."""

    def __repr__(self) -> str:
        return "<EmailContent>"


class SmsContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a text message is stored."""

    sender: str | None = None
    text: str

    def __repr__(self) -> str:
        return "<SmsContent>"


_encode = msgspec.msgpack.Encoder().encode
_email = msgspec.msgpack.Decoder(EmailContent)
_sms = msgspec.msgpack.Decoder(SmsContent)


def encode_content(content: EmailContent | SmsContent) -> bytes:
    """Return the bytes to store; ``decode_content`` reads them."""
    return _encode(content)


def decode_content(channel: Channel, data: bytes) -> EmailContent | SmsContent:
    """Return what ``encode_content`` was given; raises ValueError when the bytes are something else."""
    return _email.decode(data) if channel is Channel.EMAIL else _sms.decode(data)


def preview_reference(message_id: str, address: Secret) -> str:
    """What is stored instead of an address that came with a request: 32 hex digits that say nothing without the config."""
    return hmac.new(message_id.encode(), address.reveal().encode(), hashlib.sha256).hexdigest()[:32]


def preview_recipient(client: Client, message_id: str, reference: str) -> Secret | None:
    """The config's entry that the reference was made of; None when it is no longer listed."""
    for address in client.preview_recipients:
        if hmac.compare_digest(preview_reference(message_id, address), reference):
            return address
    return None
