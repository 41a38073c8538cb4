"""The request bodies of Postmark's Email API. Pure functions."""

from typing import Any

import msgspec

from gatepost import wire
from gatepost.model import Email
from gatepost_postmark.settings import Settings

ID_FIELD = "gp_id"
"""The field of the metadata that holds our id. Every webhook about the mail repeats it."""

_encode = msgspec.json.Encoder().encode


def mail_body(message: Email, settings: Settings) -> bytes:
    """Return the body of ``POST /email``, without empty parts."""
    fields: dict[str, Any] = {
        "From": wire.quoted_mailbox(message.sender),
        "To": message.recipient.reveal(),
        "Subject": message.subject,
        "MessageStream": settings.message_stream,
        "Metadata": {ID_FIELD: message.id},
    }
    if message.reply_to:
        fields["ReplyTo"] = wire.quoted_mailbox(message.reply_to)
    if message.text:
        fields["TextBody"] = message.text
    if message.html:
        fields["HtmlBody"] = message.html
    if message.tags:
        # A mail can have only one tag.
        fields["Tag"] = ", ".join(message.tags)
    if message.headers:
        fields["Headers"] = [{"Name": name, "Value": value} for name, value in message.headers.items()]
    if settings.open_tracking is not None:
        fields["TrackOpens"] = settings.open_tracking
    if settings.click_tracking is not None:
        # Not in plain text, where the reader would see the rewritten link.
        fields["TrackLinks"] = "HtmlOnly" if settings.click_tracking else "None"
    return _encode(fields)
