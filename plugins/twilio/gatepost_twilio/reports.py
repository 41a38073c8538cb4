"""Twilio's requests to the webhook: statuses of messages, and texts from users. Pure functions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from gatepost import wire
from gatepost.errors import BadSignature, BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookAnswer, WebhookRequest
from gatepost_twilio.error_codes import statuses_of_failure
from gatepost_twilio.messages import RETRIES

_STATUSES = dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), Status.ACCEPTED)
_STATUSES |= {"delivered": Status.DELIVERED, "canceled": Status.REJECTED, "read": Status.OPENED}
# What Twilio itself takes as an opt-out, if it is the whole text.
_STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
_NUMBER = re.compile(r"(?:whatsapp:)?(\+[1-9][0-9]{6,14})")
_NO_REPLY = WebhookAnswer(body=b"<Response/>", content_type="text/xml")


def read_report(request: WebhookRequest, tokens: Sequence[Secret], *, account_sid: str) -> Report:
    """Verify the request and translate it; raise the errors of the hook ``parse_webhook``."""
    if request.method != "POST" or "bodySHA256" in request.query:
        raise BadWebhook("it must be a POST with a form: choose HTTP POST at Twilio, and no Event Streams")
    _verify(request, tokens)
    fields = dict(request.form)
    if fields.get("AccountSid", account_sid) != account_sid:
        raise BadWebhook("it is about another account than account_sid: give that account its own instance")
    # SmsStatus and SmsSid are the older names; a text from a user has nothing else.
    status = fields.get("MessageStatus") or fields.get("SmsStatus", "")
    if status in {"received", "receiving"}:
        return _incoming(fields)
    if not status:
        raise BadWebhook("it is neither the status of a message nor a message from a user")
    return _status_report(status, request.query.get("id"), fields)


def _verify(request: WebhookRequest, tokens: Sequence[Secret]) -> None:
    """Raise BadSignature unless one of the tokens has signed this URL and this form."""
    if "x-twilio-webhooks-signature-settings" in request.headers:
        raise BadSignature("it is signed with a shared key: remove Twilio's Webhooks Rule for this address")
    signature = request.headers.get("x-twilio-signature", "")
    fields = "".join(name + value for name, value in sorted(set(request.form)))
    for token in tokens:
        for url in _signed_urls(request.url):
            content = (url + fields).encode("utf-8", "replace")
            with suppress(BadSignature):
                return wire.expect_hmac(signature, token, content, digest="sha1", encoding="base64")
    raise BadSignature(
        "the signature is missing, or not by auth_token over server.public_url: compare both at Twilio"
    )


def _signed_urls(url: str) -> Iterator[str]:
    """Yield what Twilio may have signed: it is inconsistent about ports, and silent about the fragment."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    name, _, port = host.partition(":")
    port = port or ("443" if scheme == "https" else "80")
    for signed in dict.fromkeys((host, name, f"{name}:{port}")):
        yield from (f"{scheme}://{signed}/{path}", f"{scheme}://{signed}/{path}{RETRIES}")


def _incoming(fields: Mapping[str, str]) -> Report:
    """Translate a text from a user, and answer that nothing is to be sent in reply."""
    kind = fields.get("OptOutType", "").upper()
    stops = kind == "STOP" or (not kind and fields.get("Body", "").strip().upper() in _STOP_WORDS)
    number = _NUMBER.fullmatch(fields.get("From", ""))
    if stops and number:
        event = StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret(number[1]))
        return Report(events=[event], answer=_NO_REPLY)
    return Report(ignored={kind.lower() if kind in {"START", "HELP"} else "incoming": 1}, answer=_NO_REPLY)


def _status_report(status: str, message_id: str | None, fields: Mapping[str, str]) -> Report:
    code = wire.safe_code(fields.get("ErrorCode"))
    ids = (wire.safe_id(message_id), wire.safe_id(fields.get("MessageSid") or fields.get("SmsSid")))
    statuses: Sequence[Status] = [_STATUSES[status]] if status in _STATUSES else []
    if status in {"failed", "undelivered"}:
        statuses = statuses_of_failure(status, code)
    events = [StatusEvent(status=one, message_id=ids[0], provider_id=ids[1], code=code) for one in statuses]
    return wire.collect_events(events or ["unknown"], lambda event: event)
