"""The two requests that Smartico sends, decoded from the raw body.

The result is an EmailRequest or an SmsRequest, or Refused is raised. The texts of Refused are our own, because those
of the decoder may quote the value.
"""

import hashlib
import re
from typing import ClassVar, TypeVar

import msgspec

from gatepost.content import EmailContent, SmsContent, encode_content
from gatepost.errors import Code, Refused
from gatepost.intake import mail_headers
from gatepost.model import Channel, Mailbox, Secret

MAX_ID = 512
"""Characters of a user id and of a uid: both are in indexes, and PostgreSQL limits the size of an index row."""
MAX_RECIPIENT = 320
"""Characters of the address in a preview: 64 of the local part, 255 of the domain, and the @."""
MAX_NUMBER = 32
"""Characters of an SMS sender. The networks allow 15 digits or 11 letters; the plugin checks the exact form."""

_NUMBER_FIELDS = frozenset({"ext_user_id", "email_uid", "im_uid", "from_number"})
"""Fields that may also be a JSON number, which then stands for its digits."""
_WHOLE_NUMBER = re.compile(rb"-?[0-9]+")

_BOM = b"\xef\xbb\xbf"


class _EmailFields(msgspec.Struct):
    ext_user_id: str | None = None
    from_email_address: str | None = None
    reply_to_email_address: str | None = None
    subject: str | None = None
    body: str | None = None
    text_body: str | None = None
    email_uid: str | None = None
    callback_url: str | None = None
    activity_type: str | None = None
    to_email_address: str | None = None


class _SmsFields(msgspec.Struct):
    ext_user_id: str | None = None
    from_number: str | None = None
    body: str | None = None
    im_uid: str | None = None
    callback_url: str | None = None


_Fields = TypeVar("_Fields", _EmailFields, _SmsFields)

_email_decoder = msgspec.json.Decoder(_EmailFields)
_sms_decoder = msgspec.json.Decoder(_SmsFields)
_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text_decoder = msgspec.json.Decoder(str | None)


class EmailRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The decoded body of ``POST /email``."""

    channel: ClassVar[Channel] = Channel.EMAIL
    ext_user_id: str
    uid: str
    sender: Mailbox
    reply_to: Mailbox | None = None
    subject: str
    html: str
    text: str = ""
    """Empty when Smartico sent none."""
    callback_url: str = ""
    """Empty when the client's default applies."""
    preview_to: Secret | None = None
    """The recipient that the request itself names; None when the user's contact is looked up."""
    fingerprint: bytes
    """SHA-256 of the content. A repeat of a message has the same uid and the same fingerprint."""

    def __repr__(self) -> str:
        return "<EmailRequest>"


class SmsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The decoded body of ``POST /sms``."""

    channel: ClassVar[Channel] = Channel.SMS
    ext_user_id: str
    uid: str
    sender: str | None = None
    text: str
    callback_url: str = ""
    fingerprint: bytes

    def __repr__(self) -> str:
        return "<SmsRequest>"


_encode = msgspec.msgpack.Encoder().encode


def decode(channel: Channel, body: bytes) -> EmailRequest | SmsRequest:
    """Decode a request's body.

    Raises Refused(MALFORMED); its message names the field and quotes nothing.
    """
    return _decode_email(body) if channel is Channel.EMAIL else _decode_sms(body)


def _decode_email(body: bytes) -> EmailRequest:
    fields = _decode_fields(body, _email_decoder, _EmailFields)
    user = _identifier("ext_user_id", fields.ext_user_id)
    uid = _identifier("email_uid", fields.email_uid)
    sender = mail_headers.parse_mailbox(
        "from_email_address", _required("from_email_address", fields.from_email_address)
    )
    reply_to = fields.reply_to_email_address or ""
    subject = fields.subject
    if subject is None:
        raise _malformed("subject is missing; it may be empty")
    mail_headers.check_header_text("subject", subject)
    html = _required("body", fields.body)
    text = fields.text_body or ""
    activity, recipient = fields.activity_type or "", fields.to_email_address or ""
    if bool(activity) is not bool(recipient):
        raise _malformed("activity_type and to_email_address go together: one of them is missing")
    if len(recipient) > MAX_RECIPIENT:
        raise _malformed(f"to_email_address is longer than {MAX_RECIPIENT} characters")
    # Never change the order or the items of this tuple: its fingerprint is stored.
    content = ("email", user, fields.from_email_address, reply_to, subject, html, text, uid)
    return EmailRequest(
        ext_user_id=user,
        uid=uid,
        sender=sender,
        reply_to=mail_headers.parse_mailbox("reply_to_email_address", reply_to) if reply_to else None,
        subject=subject,
        html=html,
        text=text,
        callback_url=fields.callback_url or "",
        preview_to=Secret(recipient) if recipient else None,
        fingerprint=_fingerprint(*content, activity, recipient),
    )


def _decode_sms(body: bytes) -> SmsRequest:
    fields = _decode_fields(body, _sms_decoder, _SmsFields)
    user = _identifier("ext_user_id", fields.ext_user_id)
    uid = _identifier("im_uid", fields.im_uid)
    text = _required("body", fields.body)
    sender = fields.from_number or ""
    mail_headers.check_header_text("from_number", sender, MAX_NUMBER)
    return SmsRequest(
        ext_user_id=user,
        uid=uid,
        sender=sender or None,
        text=text,
        callback_url=fields.callback_url or "",
        # Never change these items: their fingerprint is stored.
        fingerprint=_fingerprint("sms", user, sender, text, uid),
    )


def _malformed(problem: str) -> Refused:
    return Refused(Code.MALFORMED, problem)


def _decode_fields(body: bytes, decoder: "msgspec.json.Decoder[_Fields]", kind: type[_Fields]) -> _Fields:
    if not body.isascii():
        # The decoder skips unknown fields and does not notice invalid UTF-8 in them.
        try:
            body.decode()
        except UnicodeDecodeError:
            raise _malformed("the body is not UTF-8") from None
        body = body.removeprefix(_BOM)
    try:
        fields = decoder.decode(body)
    except msgspec.ValidationError:
        fields = _decode_one_by_one(body, kind)
    except (ValueError, RecursionError):
        raise _malformed("the body is not JSON") from None
    # JSON has no other way to write it.
    if b"\\u0000" in body:
        for name, value in msgspec.structs.asdict(fields).items():
            # count(), because `in` is slow in non-ASCII text: it stops at the zero half of each ASCII character.
            if value and value.count("\0"):
                raise _malformed(f"{name} must not contain NUL")
    return fields


def _decode_one_by_one(body: bytes, kind: type[_Fields]) -> _Fields:
    """Decode field by field, which is slower, to find the field that is not a text.

    Of several fields with one name the last counts. A whole number is taken as its digits; it may be larger than
    any number type of the decoder.
    """
    try:
        raw = _raw_decoder.decode(body)
    except msgspec.ValidationError:
        raise _malformed("the body must be a JSON object") from None
    except (ValueError, RecursionError):
        raise _malformed("the body is not JSON") from None
    fields = kind()
    for name in kind.__struct_fields__:
        if name not in raw:
            continue
        may_be_number = name in _NUMBER_FIELDS
        if may_be_number and _WHOLE_NUMBER.fullmatch(raw[name]):
            setattr(fields, name, bytes(raw[name]).decode())
            continue
        try:
            setattr(fields, name, _text_decoder.decode(raw[name]))
        except (ValueError, RecursionError):
            raise _malformed(f"{name} must be a text" + " or a whole number" * may_be_number) from None
    return fields


def _required(name: str, value: str | None) -> str:
    if not value:
        raise _malformed(f"{name} is missing" if value is None else f"{name} is empty")
    return value


def _identifier(name: str, value: str | None) -> str:
    value = _required(name, value)
    if len(value) > MAX_ID:
        raise _malformed(f"{name} is longer than {MAX_ID} characters")
    return value


def _fingerprint(*content: str | None) -> bytes:
    # msgpack writes the length of each text before it, so that two different tuples never give the same bytes.
    return hashlib.sha256(_encode(content)).digest()


def stored_content(request: EmailRequest | SmsRequest, *, merge_fields: bool = False) -> bytes:
    """Return the encoded content that the outbox stores; it does not name the user.

    ``merge_fields``: whether its merge fields are to be filled.
    """
    if isinstance(request, EmailRequest):
        return encode_content(
            EmailContent(
                sender=request.sender,
                reply_to=request.reply_to,
                subject=request.subject,
                html=request.html,
                text=request.text or None,
                merge_fields=merge_fields,
            )
        )
    return encode_content(SmsContent(sender=request.sender, text=request.text, merge_fields=merge_fields))
