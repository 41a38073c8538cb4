"""Reports of mail servers: bounces (RFC 3464 or plain text) and complaints (RFC 5965 or Hotmail's JMRP)."""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from functools import partial

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import NO_COUNTS, Report, Status, StatusEvent, WebhookRequest
from gatepost_smtp.incoming_mail import IncomingMail, field, field_blocks, incoming_mail, returned_messages
from gatepost_smtp.message_ids import find_message_id
from gatepost_smtp.settings import Settings
from gatepost_smtp.text_bounces import Verdict, classify

_ENHANCED_CODE = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\S)")
_SMTP_CODE = re.compile(r"\s*smtp\s*;\s*([245]\d\d)(?!\d)", re.IGNORECASE)
_ACTION = re.compile(r"\s*([a-z]+)\s*(?:\(|$)", re.IGNORECASE)
# OpenSMTPD writes "error".
_STATUSES = {"failed": Status.FAILED, "error": Status.FAILED, "delivered": Status.DELIVERED}
_ACTIONS_WITHOUT_STATUS = frozenset({"delayed", "relayed", "expanded"})
# The second is for addresses outside ASCII (RFC 6533).
_DELIVERY_REPORTS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_COMPLAINTS = frozenset({"abuse", "fraud"})
_OTHER_FEEDBACK = frozenset({"auth-failure", "dmarc", "not-spam", "opt-out", "other", "virus"})
# Hotmail's form of a complaint (JMRP): the returned mail with this field, and no report.
_JMRP_FIELD = "x-hmxmroriginalrecipient"

# Anyone who knows the bounce address can send mails to this parser, whose work grows with length times depth, and
# with the number of lines: each may begin a part or a block of fields.
MAX_BYTES, MAX_LINES = 128 * 1024, 2000
"""The beginning of a mail that is read: the parts that matter come before the body of the returned mail."""
_NESTED_PART = re.compile(rb"(?:multipart|message)/", re.IGNORECASE)
_MAX_NESTED_PARTS = 20

FindId = Callable[[IncomingMail, list[Message]], str]
"""Returns the id of the message that a mail and the field blocks of its report are about; empty if there is none."""


async def read_report(request: WebhookRequest, settings: Settings, slots: asyncio.Semaphore) -> Report:
    """Check the bearer token and read the report; count a mail that reports nothing as ignored.

    ``slots`` limits the threads that parse at once. Raises NoVerificationKey, BadSignature or BadWebhook.
    """
    if not settings.webhook_secret:
        raise NoVerificationKey("webhook_secret is not set")
    authorization = _digest(request.headers.get("authorization", ""))
    expected = (_digest(f"Bearer {secret}") for secret in settings.accepted_secrets)
    if not any(hmac.compare_digest(authorization, one) for one in expected):
        raise BadSignature("the Authorization header is missing or wrong")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "message/rfc822" or not request.body.strip():
        raise BadWebhook("expected a mail: Content-Type message/rfc822 and the unchanged mail as the body")
    return await read_mail(request.body, settings, slots, partial(find_message_id, settings=settings))


async def read_mail(mail: bytes, settings: Settings, slots: asyncio.Semaphore, find_id: FindId) -> Report:
    """Translate a mail into a report; count one that reports nothing as ignored."""
    async with slots:
        return await asyncio.to_thread(_parse, _beginning(mail), settings, find_id)


def _beginning(mail: bytes) -> bytes:
    return b"".join(mail[:MAX_BYTES].splitlines(keepends=True)[:MAX_LINES])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _parse(body: bytes, settings: Settings, find_id: FindId) -> Report:
    if len(_NESTED_PART.findall(body)) > _MAX_NESTED_PARTS:
        return Report(ignored={"too_nested": 1})
    try:
        mail = incoming_mail(BytesParser(policy=compat32).parsebytes(body))
        return (
            _standard_report(mail, settings, find_id)
            or _attached_report(mail, settings, find_id)
            or _text_report(mail, find_id)
        )
    except Exception:  # noqa: BLE001  the library may raise anything for a malformed mail
        return Report(ignored={"malformed": 1})


def _standard_report(mail: IncomingMail, settings: Settings, find_id: FindId) -> Report | None:
    """Translate a report in a standard format; return None if the mail has none."""
    for part in mail.parts:
        content_type = part.get_content_type()
        if content_type in _DELIVERY_REPORTS:
            return _bounce(field_blocks(part), settings, partial(find_id, mail))
        if content_type == "message/feedback-report":
            return _complaint(field_blocks(part), partial(find_id, mail))
    return None


def _attached_report(mail: IncomingMail, settings: Settings, find_id: FindId) -> Report | None:
    """Translate an attached mail: a complaint of Hotmail, or a forwarded report; return None otherwise."""
    for part in mail.parts:
        for attached in returned_messages(part):
            if field(attached, _JMRP_FIELD) or field(mail.headers[0], _JMRP_FIELD):
                return _report(Status.COMPLAINED, "abuse", find_id(mail, []))
            if report := _standard_report(incoming_mail(attached, *mail.headers), settings, find_id):
                return report
    return None


def _text_report(mail: IncomingMail, find_id: FindId) -> Report:
    """Translate a bounce in plain text; count any other mail as ignored."""
    verdict = classify(mail)
    if verdict is not Verdict.FAILED:
        return Report(ignored={verdict: 1})
    return _report(Status.FAILED, "", find_id(mail, []))


def _report(status: Status, code: str, message_id: str) -> Report:
    if not message_id:
        return Report(ignored={"no_id": 1})
    return Report(events=[StatusEvent(status=status, message_id=message_id, code=code)])


def _bounce(blocks: list[Message], settings: Settings, find_id: Callable[[list[Message]], str]) -> Report:
    message_id = find_id(blocks)
    # RFC 3461: the next server has the mail and does not report, so this is the last word of it.
    statuses = _STATUSES | ({"relayed": Status.DELIVERED} if settings.relayed == "delivered" else {})
    # One of each status: a message has one recipient, however many blocks of fields a mail has.
    events: dict[Status, StatusEvent] = {}
    ignored: dict[str, int] = {}
    for block in blocks:
        text = field(block, "action").strip()
        if not text:
            continue
        match = _ACTION.match(text)
        action = match[1].lower() if match else ""
        status = statuses.get(action)
        if status and message_id:
            events.setdefault(status, StatusEvent(status=status, message_id=message_id, code=_code(block)))
        else:
            reason = "no_id" if status else _ignored_as(action)
            ignored[reason] = ignored.get(reason, 0) + 1
    if not events and not ignored:
        ignored["malformed"] = 1
    return Report(events=[*events.values()], ignored=ignored or NO_COUNTS)


def _ignored_as(action: str) -> str:
    """Return the name under which a block of a bounce without a status is counted."""
    return action if action in _ACTIONS_WITHOUT_STATUS else "malformed"


def _complaint(blocks: list[Message], find_id: Callable[[list[Message]], str]) -> Report:
    types = [text for block in blocks if (text := field(block, "feedback-type").strip().lower())]
    feedback_type = types[0] if types else ""
    if feedback_type not in _COMPLAINTS:
        return Report(ignored={feedback_type if feedback_type in _OTHER_FEEDBACK else "malformed": 1})
    return _report(Status.COMPLAINED, feedback_type, find_id(blocks))


def _code(block: Message) -> str:
    """Return ``550 5.1.1``, or the part of it that the report has; its text may quote the recipient."""
    smtp_code = _SMTP_CODE.match(field(block, "diagnostic-code"))
    enhanced_code = _ENHANCED_CODE.match(field(block, "status"))
    return " ".join(code[1] for code in (smtp_code, enhanced_code) if code)
