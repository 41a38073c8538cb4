"""The request bodies of SendEmail. Pure functions."""

from email.header import Header
from email.utils import formataddr

import msgspec

from gatepost.errors import Rejected
from gatepost.model import Email

ID_TAG = "gp_id"
"""The tag that holds our id. Events repeat it."""


def mail_body(message: Email, configuration_set: str) -> bytes:
    """Return the body of a request; raise Rejected for an address that SES can't take."""
    recipient = message.recipient.reveal()
    mailboxes = [message.sender, *([message.reply_to] if message.reply_to else [])]
    if not all(address.isascii() for address in (recipient, *(one.address for one in mailboxes))):
        raise Rejected("SES has no SMTPUTF8: a local part is not ASCII", code="SMTPUTF8")
    sender, *reply_to = [formataddr((_ascii(one.name), one.address)) for one in mailboxes]
    parts = {"Text": message.text, "Html": message.html}
    content = {
        "Subject": {"Data": _ascii(message.subject)},
        "Body": {name: {"Data": text, "Charset": "UTF-8"} for name, text in parts.items() if text},
        "Headers": [{"Name": name, "Value": value} for name, value in message.headers.items()],
    }
    # A tag's value has no dot.
    labels = [tag.replace(".", "-") for tag in message.tags]
    tags = zip((ID_TAG, *("client", "route")[-len(labels) :]), (message.id, *labels), strict=False)
    mail = {
        "FromEmailAddress": sender,
        "Destination": {"ToAddresses": [recipient]},
        "ReplyToAddresses": reply_to,
        "Content": {"Simple": content},
        "EmailTags": [{"Name": name, "Value": value} for name, value in tags],
    }
    named_set = {"ConfigurationSetName": configuration_set}
    return msgspec.json.encode({**mail, **(named_set if configuration_set else {})})


def _ascii(text: str) -> str:
    """Return a text in encoded words (RFC 2047), which SES wants where a subject or a name is not ASCII."""
    return text if text.isascii() else Header(text, "utf-8", 75).encode(linesep="")
