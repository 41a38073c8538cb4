"""What mail servers report back: bounces (RFC 3464 or in words) and complaints (RFC 5965, JMRP)."""

import asyncio
import hashlib
import hmac
import re
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import NO_COUNTS, Report, Status, StatusEvent, WebhookRequest
from gatepost_smtp.identify import Arrived, arrived, find_message_id
from gatepost_smtp.mail_parts import blocks, field, returned
from gatepost_smtp.plain_bounces import Verdict, judge
from gatepost_smtp.settings import Settings

_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\S)")
_BASIC = re.compile(r"\s*smtp\s*;\s*([245]\d\d)(?!\d)", re.IGNORECASE)
_ACTION = re.compile(r"\s*([a-z]+)\s*(?:\(|$)", re.IGNORECASE)
# OpenSMTPD writes "error".
_BOUNCES = {"failed": Status.FAILED, "error": Status.FAILED, "delivered": Status.DELIVERED}
_ACTIONS = frozenset({"delayed", "relayed", "expanded"})
_COMPLAINTS = frozenset({"abuse", "fraud"})
_FEEDBACK = frozenset({"auth-failure", "dmarc", "not-spam", "opt-out", "other", "virus"})
# Hotmail's form of a complaint (JMRP): the mail that is complained of, with this field and no report.
_JMRP = "x-hmxmroriginalrecipient"

# Whoever knows the bounce address writes the mails that arrive here, and the parser's work grows with
# length times depth. What counts stands before the body of the mail that is returned.
_LENGTH = 128 * 1024
_NESTING = re.compile(rb"(?:multipart|message)/", re.IGNORECASE)
_MAX_NESTING = 20


async def read_report(request: WebhookRequest, settings: Settings, readers: asyncio.Semaphore) -> Report:
    """Check the bearer token, read the report; mail that reports nothing is counted and ignored.

    ``readers`` bounds the threads that read at once.

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
    async with readers:
        return await asyncio.to_thread(_read, request.body[:_LENGTH], settings)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _read(body: bytes, settings: Settings) -> Report:
    if len(_NESTING.findall(body)) > _MAX_NESTING:
        return Report(ignored={"too nested": 1})
    try:
        mail = arrived(BytesParser(policy=compat32).parsebytes(body))
        return _reported(mail, settings) or _attached(mail, settings) or _in_words(mail, settings)
    except (RecursionError, ValueError, LookupError):
        return Report(ignored={"malformed": 1})


def _reported(mail: Arrived, settings: Settings) -> Report | None:
    """What a report for machines says; None where the mail holds none."""
    for part in mail.parts:
        kind = part.get_content_type()
        if kind == "message/delivery-status":
            return _bounce(mail, blocks(part), settings)
        if kind == "message/feedback-report":
            return _complaint(mail, blocks(part), settings)
    return None


def _attached(mail: Arrived, settings: Settings) -> Report | None:
    """What a report says that was forwarded as an attachment, or a complaint that is nothing but one."""
    for part in mail.parts:
        for inner in returned(part):
            if field(inner, _JMRP) or field(mail.heads[0], _JMRP):
                return _event(Status.COMPLAINED, "abuse", find_message_id(mail, [], settings))
            if report := _reported(arrived(inner, *mail.heads), settings):
                return report
    return None


def _in_words(mail: Arrived, settings: Settings) -> Report:
    """What a mail system says to a person."""
    verdict = judge(mail)
    if verdict is not Verdict.FAILED:
        return Report(ignored={verdict: 1})
    return _event(Status.FAILED, "", find_message_id(mail, [], settings))


def _event(status: Status, code: str, message_id: str) -> Report:
    if not message_id:
        return Report(ignored={"unidentified": 1})
    return Report(events=[StatusEvent(status=status, message_id=message_id, code=code)])


def _bounce(mail: Arrived, fields_of_each: list[Message], settings: Settings) -> Report:
    message_id = find_message_id(mail, fields_of_each, settings)
    events: list[StatusEvent] = []
    ignored: dict[str, int] = {}
    for block in fields_of_each:
        said = field(block, "action").strip()
        if not said:
            continue
        named = _ACTION.match(said)
        action = named[1].lower() if named else ""
        if action in _BOUNCES and message_id:
            events.append(StatusEvent(status=_BOUNCES[action], message_id=message_id, code=_code(block)))
        else:
            kind = action if action in _ACTIONS else "unidentified" if action in _BOUNCES else "malformed"
            ignored[kind] = ignored.get(kind, 0) + 1
    if not events and not ignored:
        ignored["malformed"] = 1
    return Report(events=events, ignored=ignored or NO_COUNTS)


def _complaint(mail: Arrived, fields_of_each: list[Message], settings: Settings) -> Report:
    kinds = [kind for block in fields_of_each if (kind := field(block, "feedback-type").strip().lower())]
    kind = kinds[0] if kinds else ""
    if kind not in _COMPLAINTS:
        return Report(ignored={kind if kind in _FEEDBACK else "malformed": 1})
    return _event(Status.COMPLAINED, kind, find_message_id(mail, fields_of_each, settings))


def _code(block: Message) -> str:
    """``550 5.1.1``, as much of it as the report says; never its text, which quotes the recipient."""
    basic = _BASIC.match(field(block, "diagnostic-code"))
    enhanced = _ENHANCED.match(field(block, "status"))
    return " ".join(found[1] for found in (basic, enhanced) if found)
