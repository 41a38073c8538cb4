"""The request bodies of Mail Send. Pure functions."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from sendgrid.helpers import mail as sdk  # type: ignore[import-untyped]

from gatepost.errors import Rejected
from gatepost.model import Email, Mailbox
from gatepost_sendgrid.settings import MAX_CATEGORIES, Settings

ID_ARGUMENT = "gp_id"
"""The custom argument that holds our id. Events repeat it at their top level, beside SendGrid's fields."""

_encode = msgspec.json.Encoder().encode
_api_key_check = sdk.ValidateApiKey()


def mail_body(message: Email, settings: Settings) -> bytes:
    """Return the body of a request: the text part first, without empty parts.

    Raises Rejected if the SDK refuses the content.
    """
    parts = [(sdk.MimeType.text, message.text), (sdk.MimeType.html, message.html)]
    content = [{"type": mime_type, "value": value} for mime_type, value in parts if value]
    try:
        _api_key_check.validate_message_dict({"content": content})
    except sdk.ApiKeyIncludedException:
        raise Rejected("the content begins with what looks like a SendGrid API key") from None
    recipient: dict[str, object] = {
        "to": [{"email": message.recipient.reveal()}],
        "custom_args": {ID_ARGUMENT: message.id},
    }
    if message.headers:
        recipient["headers"] = message.headers
    return _encode(
        {
            **_shared_fields(message.sender, message.reply_to, tuple(message.tags), settings),
            "subject": message.subject,
            "personalizations": [recipient],
            "content": content,
        }
    )


@lru_cache(maxsize=256)
def _shared_fields(
    sender: Mailbox, reply_to: Mailbox | None, tags: tuple[str, ...], settings: Settings
) -> Mapping[str, object]:
    """Build the fields that many mails share with the SDK; cached, because it took a tenth of a send."""
    mail = sdk.Mail()
    mail.from_email = _address(sdk.From, sender)
    if reply_to:
        mail.reply_to = _address(sdk.ReplyTo, reply_to)
    for category in list(dict.fromkeys((*settings.categories, *tags)))[:MAX_CATEGORIES]:
        mail.add_category(sdk.Category(category))
    if settings.click_tracking is not None or settings.open_tracking is not None:
        mail.tracking_settings = sdk.TrackingSettings()
        if settings.click_tracking is not None:
            # Not in plain text, where the reader would see the rewritten link: long, and of another domain.
            mail.tracking_settings.click_tracking = sdk.ClickTracking(
                settings.click_tracking, enable_text=False
            )
        if settings.open_tracking is not None:
            mail.tracking_settings.open_tracking = sdk.OpenTracking(settings.open_tracking)
    if settings.sandbox_mode:
        mail.mail_settings = sdk.MailSettings(sandbox_mode=sdk.SandBoxMode(enable=True))
    fields: dict[str, object] = mail.get()
    return fields


def _address(address_type: type[sdk.Email], mailbox: Mailbox) -> sdk.Email:
    """Build an address of the SDK unchanged; the SDK's constructor would parse one that has no name."""
    address = address_type()
    address.email = mailbox.address
    if mailbox.name:
        address.name = mailbox.name
    return address
