"""What Smartico may say, and what it hears: the two requests of the contract and their answers.

A request comes as raw bytes and leaves as an EmailRequest or an SmsRequest, or raises Refused. Whatever is
wrong is said in our own words: a decoder's text likes to quote the value.
"""

import hashlib
import re
from typing import ClassVar, TypeVar

import msgspec

from gatepost.config.settings import Client
from gatepost.content import EmailContent, SmsContent, encode_content
from gatepost.errors import Code, Refused
from gatepost.intake import mail_headers
from gatepost.model import Channel, Mailbox, Secret

MAX_ID = 512
"""Characters of a user id and of a uid: both are keys of an index, whose rows PostgreSQL limits."""
MAX_RECIPIENT = 320
"""Characters of an address that a request names itself: 64 of the local part, 255 of the domain, and the @."""
MAX_NUMBER = 32
"""Characters of a sender id; the networks allow 15 digits or 11 letters, in which form is the plugin's."""

_NUMERIC = frozenset({"ext_user_id", "email_uid", "im_uid", "from_number"})
"""Fields in which a number is taken as its digits."""
_WHOLE = re.compile(rb"-?[0-9]+")

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


_F = TypeVar("_F", _EmailFields, _SmsFields)

_email_fields = msgspec.json.Decoder(_EmailFields)
_sms_fields = msgspec.json.Decoder(_SmsFields)
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text_or_null = msgspec.json.Decoder(str | None)


class EmailRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /email``, decoded."""

    channel: ClassVar[Channel] = Channel.EMAIL
    ext_user_id: str
    uid: str
    sender: Mailbox
    reply_to: Mailbox | None = None
    subject: str
    html: str
    text: str = ""
    """Empty: Smartico sent none."""
    callback_url: str = ""
    """Empty: the client's default."""
    preview_to: Secret | None = None
    """The address that came with the request; None: the user is looked up."""
    fingerprint: bytes
    """SHA-256 over the content; equal for the same uid means: the same message again."""

    def __repr__(self) -> str:
        return "<EmailRequest>"


class SmsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /sms``, decoded."""

    channel: ClassVar[Channel] = Channel.SMS
    ext_user_id: str
    uid: str
    sender: str | None = None
    text: str
    callback_url: str = ""
    fingerprint: bytes

    def __repr__(self) -> str:
        return "<SmsRequest>"


_pack = msgspec.msgpack.Encoder().encode


def decode(channel: Channel, body: bytes) -> EmailRequest | SmsRequest:
    """A request's body as the contract's table has it.

    Raises Refused(MALFORMED), whose message names the field and quotes nothing.
    """
    return _decode_email(body) if channel is Channel.EMAIL else _decode_sms(body)


def _decode_email(body: bytes) -> EmailRequest:
    fields = _fields(body, _email_fields, _EmailFields)
    user = _identifier("ext_user_id", fields.ext_user_id)
    uid = _identifier("email_uid", fields.email_uid)
    sender = mail_headers.mailbox(
        "from_email_address", _required("from_email_address", fields.from_email_address)
    )
    reply_to = fields.reply_to_email_address or ""
    subject = fields.subject
    if subject is None:
        raise _malformed("subject is missing; it may be empty")
    mail_headers.refuse_control("subject", subject)
    html = _required("body", fields.body)
    text = fields.text_body or ""
    activity, recipient = fields.activity_type or "", fields.to_email_address or ""
    if bool(activity) is not bool(recipient):
        raise _malformed("activity_type and to_email_address go together: one of them is missing")
    if len(recipient) > MAX_RECIPIENT:
        raise _malformed(f"to_email_address is longer than {MAX_RECIPIENT} characters")
    # The order and the framing of this list are part of what is stored: never change either.
    content = ("email", user, fields.from_email_address, reply_to, subject, html, text, uid)
    return EmailRequest(
        ext_user_id=user,
        uid=uid,
        sender=sender,
        reply_to=mail_headers.mailbox("reply_to_email_address", reply_to) if reply_to else None,
        subject=subject,
        html=html,
        text=text,
        callback_url=fields.callback_url or "",
        preview_to=Secret(recipient) if recipient else None,
        fingerprint=_fingerprint(*content, activity, recipient),
    )


def _decode_sms(body: bytes) -> SmsRequest:
    fields = _fields(body, _sms_fields, _SmsFields)
    user = _identifier("ext_user_id", fields.ext_user_id)
    uid = _identifier("im_uid", fields.im_uid)
    text = _required("body", fields.body)
    sender = fields.from_number or ""
    mail_headers.refuse_control("from_number", sender, MAX_NUMBER)
    return SmsRequest(
        ext_user_id=user,
        uid=uid,
        sender=sender or None,
        text=text,
        callback_url=fields.callback_url or "",
        # As above: never change it.
        fingerprint=_fingerprint("sms", user, sender, text, uid),
    )


def _malformed(problem: str) -> Refused:
    return Refused(Code.MALFORMED, problem)


def _fields(body: bytes, decoder: "msgspec.json.Decoder[_F]", kind: type[_F]) -> _F:
    if not body.isascii():
        # The decoder skips over unknown fields, and with them over what is no UTF-8.
        try:
            body.decode()
        except UnicodeDecodeError:
            raise _malformed("the body is not UTF-8") from None
        body = body.removeprefix(_BOM)
    try:
        fields = decoder.decode(body)
    except msgspec.ValidationError:
        fields = _one_by_one(body, kind)
    except (ValueError, RecursionError):
        raise _malformed("the body is not JSON") from None
    for name, value in zip(kind.__struct_fields__, msgspec.structs.astuple(fields), strict=True):
        # In wide text `in` trips over the NUL half of every ASCII character; counting does not.
        if value and ("\0" in value if value.isascii() else value.count("\0")):
            raise _malformed(f"{name} must not contain NUL")
    return fields


def _one_by_one(body: bytes, kind: type[_F]) -> _F:
    """The slow way, after a fault: finds the field that is no text, and lets the last of its name win.

    Whole numbers are taken here, as they are written: as numbers they would have to be of some size.
    """
    try:
        raw = _raw_fields.decode(body)
    except msgspec.ValidationError:
        raise _malformed("the body must be a JSON object") from None
    except (ValueError, RecursionError):
        raise _malformed("the body is not JSON") from None
    fields = kind()
    for name in kind.__struct_fields__:
        if name not in raw:
            continue
        numeric = name in _NUMERIC
        if numeric and _WHOLE.fullmatch(raw[name]):
            setattr(fields, name, bytes(raw[name]).decode())
            continue
        try:
            setattr(fields, name, _text_or_null.decode(raw[name]))
        except (ValueError, RecursionError):
            raise _malformed(f"{name} must be a text" + " or a whole number" * numeric) from None
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
    # msgpack says each text's length before it, so that no two lists of texts look alike.
    return hashlib.sha256(_pack(content)).digest()


def content(request: EmailRequest | SmsRequest) -> bytes:
    """Return what is stored of the request, encoded."""
    if isinstance(request, EmailRequest):
        return encode_content(
            EmailContent(
                sender=request.sender,
                reply_to=request.reply_to,
                subject=request.subject,
                html=request.html,
                text=request.text or None,
            )
        )
    return encode_content(SmsContent(sender=request.sender, text=request.text))


def check_sender(client: Client, request: EmailRequest | SmsRequest) -> None:
    """Raise Refused(SENDER_REFUSED) unless the client may send in this name.

    An SMS without a sender goes out in the plugin's default, which is the operator's own choice. The
    reply-to is not restricted: it sends nothing.
    """
    if isinstance(request, SmsRequest):
        if request.sender is None or not client.sms_senders or request.sender in client.sms_senders:
            return
        raise Refused(Code.SENDER_REFUSED, "from_number is not one of the client's sms_senders")
    if not client.email_senders:
        return
    address = request.sender.address
    permitted = mail_headers.permitted(client.email_senders)
    if address not in permitted and address[address.rindex("@") :] not in permitted:
        raise Refused(Code.SENDER_REFUSED, "from_email_address is not one of the client's email_senders")


def check_preview(client: Client, request: EmailRequest | SmsRequest) -> None:
    """Raise Refused(PREVIEW_REFUSED) when the request names an address that the client's config doesn't list."""
    if isinstance(request, SmsRequest) or request.preview_to is None:
        return
    if request.preview_to not in client.preview_recipients:
        raise Refused(Code.PREVIEW_REFUSED, "to_email_address is not one of the client's preview_recipients")


def accepted(ext_message_id: str) -> bytes:
    """The answer to a request that was taken; ids are [0-9a-f-] and need no quoting."""
    return b'{"error_code":0,"ext_message_id":"' + ext_message_id.encode() + b'"}'


def refused(error: Refused) -> bytes:
    """The answer to a request that was not."""
    return msgspec.json.encode({"error_code": int(error.code), "error_message": error.message})
