"""The content of the message files. Pure functions; an email takes one or two milliseconds of CPU."""

import re
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate

import msgspec

from gatepost.errors import Rejected
from gatepost.model import Email, Mailbox, Sms

# Control characters, and the characters that str.splitlines takes for line breaks.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


def email_file(message: Email) -> bytes:
    """Return the email as RFC 5322 text; raise Rejected if its headers can't be written."""
    mail_policy = policy.SMTP if _has_ascii_addresses(message) else policy.SMTPUTF8
    if not all(map(_HEADER_NAME.fullmatch, message.headers)):
        raise Rejected("a header's name can't be written", code="header")
    mail = EmailMessage(mail_policy)
    headers = {
        "Date": formatdate(usegmt=True),
        "Message-ID": f"<{message.id}@sandbox.invalid>",
        "From": message.sender,
        "To": Mailbox(message.recipient.reveal()),
        "Reply-To": message.reply_to,
        "Subject": _header_text(message.subject),
        **{name: _header_text(value) for name, value in message.headers.items()},
    }
    try:
        for name, value in headers.items():
            if value is not None:
                mail[name] = _address(value) if isinstance(value, Mailbox) else value
        _set_body(mail, message)
        # Headers are not folded: when the standard library folds a long name, it loses the name's quotes.
        return mail.as_bytes(policy=mail_policy.clone(max_line_length=0))
    # The header parser raises any of these for a bad address, and their texts quote the address.
    except (ValueError, LookupError, AttributeError, TypeError, MessageError):
        raise Rejected("a header can't hold one of this email's addresses", code="address") from None


def sms_file(message: Sms, sender: str) -> bytes:
    """Return the text message as a JSON object with id, from, to and text."""
    fields = {"id": message.id, "from": sender, "to": message.recipient.reveal(), "text": message.text}
    encodable = {key: _replace_surrogates(text) for key, text in fields.items()}
    return msgspec.json.format(msgspec.json.encode(encodable))


def _has_ascii_addresses(message: Email) -> bool:
    senders = (message.sender.address, message.reply_to.address if message.reply_to else "")
    return message.recipient.reveal().isascii() and all(address.isascii() for address in senders)


def _set_body(mail: EmailMessage, message: Email) -> None:
    text, html = _replace_surrogates(message.text), _replace_surrogates(message.html)
    if not text:
        mail.set_content(html, subtype="html")
        return
    mail.set_content(text)
    if html:
        mail.add_alternative(html, subtype="html")


def _address(mailbox: Mailbox) -> Address:
    name, address = _header_text(mailbox.name), mailbox.address
    if _CONTROL.search(address):
        raise ValueError
    # Address accepts a non-ASCII local part only without a check of its form: check it with substitutes.
    Address(addr_spec=_NON_ASCII.sub("x", address))
    local, _, domain = address.rpartition("@")
    return Address(name, local, domain) if not address.isascii() else Address(name, addr_spec=address)


def _header_text(text: str) -> str:
    """Return ``text`` without anything that could end a header line.

    EmailMessage decodes RFC 2047 words and writes what they hide (CVE-2024-6923). So "=?" is broken up, and
    a reader of the file sees such words undecoded.
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _replace_surrogates(text)).replace("=?", "= ?")


def _replace_surrogates(text: str) -> str:
    """Replace lone surrogates, which UTF-8 can't encode, by question marks."""
    return text.encode("utf-8", "replace").decode()
