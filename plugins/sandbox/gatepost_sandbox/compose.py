"""The bytes that land in the folder. Pure functions; an email takes a millisecond or two of CPU."""

import re
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate

import msgspec

from gatepost.errors import Rejected
from gatepost.model import Email, Mailbox, Sms

# Controls, and what str.splitlines takes for the end of a line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FOREIGN = re.compile(r"[^\x00-\x7f]")


def eml(message: Email) -> bytes:
    """The email as RFC 5322 text. Raises Rejected where its addresses can't stand in a header."""
    rules = policy.SMTP if _all_ascii(message) else policy.SMTPUTF8
    mail = EmailMessage(rules)
    headers = {
        "Date": formatdate(usegmt=True),
        "Message-ID": f"<{message.id}@sandbox.invalid>",
        "From": message.sender,
        "To": Mailbox(message.recipient.reveal()),
        "Reply-To": message.reply_to,
        "Subject": _header_text(message.subject),
    }
    try:
        for name, value in headers.items():
            if value is not None:
                mail[name] = _address(value) if isinstance(value, Mailbox) else value
        _set_body(mail, message)
        # Headers are not folded: the standard library loses a long name's quotes at that.
        return mail.as_bytes(policy=rules.clone(max_line_length=0))
    # What the header parser stumbles over it reports as any of these; their texts quote the address.
    except (ValueError, LookupError, AttributeError, TypeError, MessageError):
        raise Rejected("an address of this email can't stand in a header", code="address") from None


def _all_ascii(message: Email) -> bool:
    senders = (message.sender.address, message.reply_to.address if message.reply_to else "")
    return message.recipient.reveal().isascii() and all(address.isascii() for address in senders)


def _set_body(mail: EmailMessage, message: Email) -> None:
    text, html = _storable(message.text), _storable(message.html)
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
    # Address takes a local part outside ASCII only without judging its form: judge it with stand-ins.
    Address(addr_spec=_FOREIGN.sub("x", address))
    local, _, domain = address.rpartition("@")
    return Address(name, local, domain) if not address.isascii() else Address(name, addr_spec=address)


def _header_text(text: str) -> str:
    """``text`` with nothing in it that could end a header line.

    EmailMessage decodes RFC 2047 words and writes out what was hidden in them (CVE-2024-6923), so such
    words are broken up: whoever looks into the folder sees them as they were meant.
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _storable(text)).replace("=?", "= ?")


def sms_json(message: Sms, sender: str) -> bytes:
    """The text message as a JSON object: id, from, to, text."""
    fields = {"id": message.id, "from": sender, "to": message.recipient.reveal(), "text": message.text}
    return msgspec.json.format(msgspec.json.encode({key: _storable(text) for key, text in fields.items()}))


def _storable(text: str) -> str:
    """``text`` without lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode()
