"""A mail in SendGrid's vocabulary, and SendGrid's complaints about one. Pure functions."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from sendgrid.helpers import mail as sdk  # type: ignore[import-untyped]

from gatepost.errors import Rejected
from gatepost.model import Email, Mailbox

ID_ARGUMENT = "gp_id"
"""The custom argument that bears our id. Events repeat it at their top level, beside the vendor's fields."""

_encode = msgspec.json.Encoder().encode

# The words that a field's place in our request is made of. An error names the field, and nothing else
# of what it says is fit to be kept.
_FIELD_WORDS = frozenset(
    {
        *(
            "personalizations",
            "to",
            "from",
            "reply_to",
            "email",
            "name",
            "subject",
            "content",
            "type",
            "value",
        ),
        *("custom_args", ID_ARGUMENT, "categories", "tracking_settings", "click_tracking", "open_tracking"),
        *("enable", "enable_text", "mail_settings", "sandbox_mode"),
    }
)


class Extras(msgspec.Struct, frozen=True, kw_only=True):
    """What every mail of an instance has beside its content."""

    categories: tuple[str, ...] = ()
    click_tracking: bool | None = None
    open_tracking: bool | None = None
    sandbox_mode: bool = False


_keys = sdk.ValidateApiKey()


def build(message: Email, extras: Extras) -> bytes:
    """The body of a Mail Send request: the text part first, empty parts left out.

    Raises Rejected where the SDK refuses the content.
    """
    parts = [(sdk.MimeType.text, message.text), (sdk.MimeType.html, message.html)]
    content = [{"type": kind, "value": value} for kind, value in parts if value]
    try:
        _keys.validate_message_dict({"content": content})
    except sdk.ApiKeyIncludedException:
        raise Rejected("the content begins with what looks like a SendGrid API key") from None
    recipient = {"to": [{"email": message.recipient.reveal()}], "custom_args": {ID_ARGUMENT: message.id}}
    return _encode(
        {
            **_form(message.sender, message.reply_to, extras),
            "subject": message.subject,
            "personalizations": [recipient],
            "content": content,
        }
    )


@lru_cache(maxsize=256)
def _form(sender: Mailbox, reply_to: Mailbox | None, extras: Extras) -> Mapping[str, object]:
    """What the SDK makes of all that many mails have alike; for every mail anew it took a tenth of a send."""
    mail = sdk.Mail()
    mail.from_email = _address(sdk.From, sender)
    if reply_to:
        mail.reply_to = _address(sdk.ReplyTo, reply_to)
    _add_extras(mail, extras)
    form: dict[str, object] = mail.get()
    return form


def _address(kind: type[sdk.Email], mailbox: Mailbox) -> sdk.Email:
    """An address taken as it is; the SDK's constructor would take one without a name apart."""
    address = kind()
    address.email = mailbox.address
    if mailbox.name:
        address.name = mailbox.name
    return address


def _add_extras(mail: sdk.Mail, extras: Extras) -> None:
    for category in extras.categories:
        mail.add_category(sdk.Category(category))
    if extras.click_tracking is not None or extras.open_tracking is not None:
        mail.tracking_settings = sdk.TrackingSettings()
        if extras.click_tracking is not None:
            # A rewritten link in plain text is read as it stands, and it is long and not the sender's.
            mail.tracking_settings.click_tracking = sdk.ClickTracking(
                extras.click_tracking, enable_text=False
            )
        if extras.open_tracking is not None:
            mail.tracking_settings.open_tracking = sdk.OpenTracking(extras.open_tracking)
    if extras.sandbox_mode:
        mail.mail_settings = sdk.MailSettings(sandbox_mode=sdk.SandBoxMode(enable=True))


def error_code(status: int, answer: object) -> str:
    """``400 personalizations.0.to.0.email``: the HTTP status, and the first field complained about.

    SendGrid has no error codes, and its messages quote addresses.
    """
    match answer:
        case {"errors": [{"field": str(field)}, *_]} if _is_place(field):
            return f"{status} {field}"
    return str(status)


def _is_place(field: str) -> bool:
    words = field.split(".")
    return len(words) <= 6 and all(
        word in _FIELD_WORDS or (word.isascii() and word.isdigit() and len(word) <= 3) for word in words
    )
