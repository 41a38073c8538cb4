"""What mail servers report back: bounces (RFC 3464) and complaints (RFC 5965), handed on as they came."""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser, HeaderParser
from email.policy import compat32

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import NO_COUNTS, Report, Status, StatusEvent, WebhookRequest
from gatepost_smtp.addresses import find_return_path, is_message_id
from gatepost_smtp.settings import Settings

_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\S)")
_BASIC = re.compile(r"\s*smtp\s*;\s*([245]\d\d)(?!\d)", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<([0-9a-f-]{36})@")
_BOUNCES = {"failed": Status.FAILED, "delivered": Status.DELIVERED}
_ACTIONS = frozenset({"delayed", "relayed", "expanded"})
_COMPLAINTS = frozenset({"abuse", "fraud"})
_FEEDBACK = frozenset({"auth-failure", "dmarc", "not-spam", "opt-out", "other", "virus"})
_MAX_PARTS = 100

# Whoever knows the bounce address writes the mails that arrive here, and the parser's work grows with
# length times depth. What counts stands before the body of the mail that is returned.
_LENGTH = 128 * 1024
_NESTING = re.compile(rb"(?:multipart|message)/", re.IGNORECASE)
_MAX_NESTING = 20


async def read_report(request: WebhookRequest, settings: Settings) -> Report:
    """Check the bearer token, read the report; mail that reports nothing is counted and ignored.

    Raises NoVerificationKey, BadSignature or BadWebhook as parse_webhook promises.
    """
    if not settings.webhook_secret:
        raise NoVerificationKey("webhook_secret is not set")
    expected = f"Bearer {settings.webhook_secret.reveal()}"
    if not hmac.compare_digest(_digest(request.headers.get("authorization", "")), _digest(expected)):
        raise BadSignature("the Authorization header is missing or wrong")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "message/rfc822" or not request.body.strip():
        raise BadWebhook("expected a mail: Content-Type message/rfc822 and the mail as it came")
    return await asyncio.to_thread(_read, request.body[:_LENGTH], settings)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _read(body: bytes, settings: Settings) -> Report:
    if len(_NESTING.findall(body)) > _MAX_NESTING:
        return Report(ignored={"too nested": 1})
    try:
        report = BytesParser(policy=compat32).parsebytes(body)
        parts = list(_parts(report))
    except (RecursionError, ValueError, LookupError):
        raise BadWebhook("the mail can't be parsed") from None
    for part in parts:
        kind = part.get_content_type()
        if kind == "message/delivery-status":
            return _bounce(report, parts, _blocks(part), settings)
        if kind == "message/feedback-report":
            return _complaint(report, parts, _blocks(part), settings)
    return Report(ignored={"no report": 1})


def _parts(message: Message, depth: int = 0) -> Iterator[Message]:
    """The report's own parts; what is inside a returned mail is not the report's word."""
    yield message
    if message.get_content_maintype() == "multipart" and depth < 4:
        for part in _list(message)[:_MAX_PARTS]:
            yield from _parts(part, depth + 1)


def _list(message: Message) -> list[Message]:
    payload = message.get_payload()
    return [part for part in payload if isinstance(part, Message)] if isinstance(payload, list) else []


def _blocks(part: Message) -> list[Message]:
    """The blocks of fields of a part, whether the parser already took it for a message or for a text."""
    blocks = _list(part)
    if blocks:
        return blocks
    decoded = part.get_payload(decode=True)
    text = decoded.decode("latin-1") if isinstance(decoded, bytes) else ""
    return [HeaderParser(policy=compat32).parsestr(block) for block in re.split(r"\r?\n\r?\n", text)]


def _bounce(report: Message, parts: list[Message], blocks: list[Message], settings: Settings) -> Report:
    message_id = _our_id(report, parts, blocks, settings)
    events: list[StatusEvent] = []
    ignored: dict[str, int] = {}
    for block in blocks:
        action = _field(block, "action").strip().lower()
        if not action:
            continue
        if action in _BOUNCES and message_id:
            events.append(StatusEvent(status=_BOUNCES[action], message_id=message_id, code=_code(block)))
        else:
            kind = action if action in _ACTIONS else "unidentified" if action in _BOUNCES else "malformed"
            ignored[kind] = ignored.get(kind, 0) + 1
    if not events and not ignored:
        ignored["malformed"] = 1
    return Report(events=events, ignored=ignored or NO_COUNTS)


def _complaint(report: Message, parts: list[Message], blocks: list[Message], settings: Settings) -> Report:
    kinds = [kind for block in blocks if (kind := _field(block, "feedback-type").strip().lower())]
    kind = kinds[0] if kinds else ""
    if kind not in _COMPLAINTS:
        return Report(ignored={kind if kind in _FEEDBACK else "malformed": 1})
    message_id = _our_id(report, parts, blocks, settings)
    if not message_id:
        return Report(ignored={"unidentified": 1})
    return Report(events=[StatusEvent(status=Status.COMPLAINED, message_id=message_id, code=kind)])


def _code(block: Message) -> str:
    """``550 5.1.1``, as much of it as the report says; never its text, which quotes the recipient."""
    basic = _BASIC.match(_field(block, "diagnostic-code"))
    enhanced = _ENHANCED.match(_field(block, "status"))
    return " ".join(found[1] for found in (basic, enhanced) if found)


def _our_id(report: Message, parts: list[Message], blocks: list[Message], settings: Settings) -> str:
    """Out of the signed return path that it was sent to, the ENVID, or the returned mail's Message-ID."""
    if settings.bounce_domain and settings.webhook_secret:
        secret = settings.webhook_secret.reveal()
        for place in (
            *_fields(report, "delivered-to", "x-original-to", "envelope-to", "to"),
            *(value for block in blocks for value in _fields(block, "original-mail-from")),
        ):
            found = find_return_path(place, settings.bounce_domain, secret)
            if found:
                return found
    for block in blocks:
        envelope_id = _field(block, "original-envelope-id").strip()
        if is_message_id(envelope_id):
            return envelope_id
    for part in parts:
        for returned in _returned(part):
            named = _MESSAGE_ID.search(_field(returned, "message-id"))
            if named and is_message_id(named[1]):
                return named[1]
    return ""


def _returned(part: Message) -> list[Message]:
    """The mail that a report returns, whole or only its headers."""
    kind = part.get_content_type()
    if kind in {"message/rfc822", "message/global"}:
        return _list(part)
    if kind in {"text/rfc822-headers", "message/global-headers"}:
        return _list(part) or _blocks(part)[:1]
    return []


def _field(message: Message, name: str) -> str:
    return next(iter(_fields(message, name)), "")


def _fields(message: Message, *names: str) -> list[str]:
    return [str(value) for name in names for value in message.get_all(name, [])]
