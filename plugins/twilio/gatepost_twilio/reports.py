"""Twilio's requests to the webhook: statuses of messages, and texts from users. Pure functions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from gatepost import wire
from gatepost.errors import BadSignature, BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookAnswer, WebhookRequest
from gatepost_twilio.error_codes import error_code, statuses_of_failure
from gatepost_twilio.messages import ID_PARAMETER, RETRIES

_STATUSES: Mapping[str, Status] = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), Status.ACCEPTED),
    "delivered": Status.DELIVERED,
    "canceled": Status.REJECTED,
    "read": Status.OPENED,
}
_WITHOUT_STATUS = frozenset({"partially_delivered"})
# What Twilio itself takes as an opt-out, if it is the whole text.
_STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
_NUMBER = re.compile(r"(?:whatsapp:)?(\+[1-9][0-9]{6,14})")
_NO_REPLY = WebhookAnswer(body=b"<Response/>", content_type="text/xml")


def read_report(request: WebhookRequest, tokens: Sequence[Secret], *, account_sid: str) -> Report:
    """Verify the request and translate it; raise the errors of the hook ``parse_webhook``."""
    if request.method != "POST":
        raise BadWebhook("a webhook of Twilio's must be a POST: choose HTTP POST for this address in the console")
    if request.headers.get("content-type", "").startswith("application/json") and "bodySHA256" in request.query:
        raise BadWebhook("this is a JSON event: use this address for messages only, not for Event Streams")
    _verify(request, tokens)
    fields = dict(request.form)
    if fields.get("AccountSid", account_sid) != account_sid:
        raise BadWebhook("this is about another account than account_sid: give each account an instance of its own")
    # SmsStatus and SmsSid are the names of the first version of the API, which reports still have.
    status = fields.get("MessageStatus") or fields.get("SmsStatus", "")
    if status in {"received", "receiving"} or (not status and "From" in fields and "Body" in fields):
        return _incoming(fields)
    if not status:
        raise BadWebhook("the request is neither the status of a message nor a message from a user")
    return _status_report(status, request.query.get(ID_PARAMETER), fields)


def _verify(request: WebhookRequest, tokens: Sequence[Secret]) -> None:
    """Raise BadSignature unless one of the tokens has signed this URL and this form."""
    if "x-twilio-webhooks-signature-settings" in request.headers:
        raise BadSignature("it is signed with a shared key: remove Twilio's Webhooks Rule for this address")
    signature = request.headers.get("x-twilio-signature", "")
    fields = "".join(name + value for name, value in sorted(set(request.form)))
    for token in tokens:
        for url in _signed_urls(request.url):
            with suppress(BadSignature):
                content = (url + fields).encode("utf-8", "replace")
                return wire.expect_hmac(signature, token, content, digest="sha1", encoding="base64")
    raise BadSignature(
        "the signature is missing, or not by auth_token over this address: compare auth_token with that of account_sid, "
        "and server.public_url with the address that Twilio calls"
    )


def _signed_urls(url: str) -> Iterator[str]:
    """Yield what Twilio may have signed: it is inconsistent about ports, and does not document the fragment."""
    parts = urlsplit(url)
    host = parts.netloc.partition(":")[0]
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    for netloc in dict.fromkeys((parts.netloc, host, f"{host}:{port}")):
        for fragment in ("", RETRIES):
            yield url.replace(parts.netloc, netloc, 1) + fragment


def _incoming(fields: Mapping[str, str]) -> Report:
    """Translate a text of a user; Twilio's answer to it is that there is no reply."""
    kind = fields.get("OptOutType", "").upper()
    stops = kind == "STOP" or (not kind and fields.get("Body", "").strip().upper() in _STOP_WORDS)
    sender = _NUMBER.fullmatch(fields.get("From", ""))
    if stops and sender:
        event = StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret(sender[1]))
        return Report(events=[event], answer=_NO_REPLY)
    return Report(ignored={kind.lower() if kind in {"START", "HELP"} else "incoming": 1}, answer=_NO_REPLY)


def _status_report(status: str, message_id: str | None, fields: Mapping[str, str]) -> Report:
    code = error_code(fields.get("ErrorCode"))
    statuses: Sequence[Status] = [_STATUSES[status]] if status in _STATUSES else []
    if status in {"failed", "undelivered"}:
        statuses = statuses_of_failure(status, code)
    events = [
        StatusEvent(
            status=one,
            message_id=wire.safe_id(message_id),
            provider_id=wire.safe_id(fields.get("MessageSid") or fields.get("SmsSid")),
            code=code,
        )
        for one in statuses
    ]
    return wire.collect_events(
        events or [status if status in _WITHOUT_STATUS else "unknown"], lambda event: event
    )
