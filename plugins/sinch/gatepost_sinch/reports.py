"""Sinch's callbacks: who sends them, delivery reports, and what users answer. Pure functions."""

from collections.abc import Iterator, Mapping

from gatepost import wire
from gatepost.errors import BadSignature, BadWebhook
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookRequest
from gatepost_sinch.settings import Settings

_STATUSES: Mapping[str, Status] = {
    "QUEUED": Status.ACCEPTED,
    "DISPATCHED": Status.ACCEPTED,
    "DELIVERED": Status.DELIVERED,
    "FAILED": Status.FAILED,
    "EXPIRED": Status.FAILED,
    "DELETED": Status.FAILED,
    "REJECTED": Status.REJECTED,
    "ABORTED": Status.REJECTED,
    "CANCELLED": Status.REJECTED,
    # The operator has it, and says nothing more.
    "UNKNOWN": Status.ACCEPTED,
}
# Aborted with one of these codes it was tried, and not refused: an internal error, a failure for now, no time left.
_FAILED_CODES = frozenset({403, 404, 406})
_CODES = range(1, 1000)
_ENDS = {Status.FAILED, Status.REJECTED}
"""Only of these is the code a reason."""
_HEADER = "x-sinch-webhook-signature"


def read_report(request: WebhookRequest, settings: Settings) -> Report:
    """Verify a request and translate it; raise the errors of the hook ``parse_webhook``."""
    if settings.webhook_secret is not None:
        _expect_signature(request, settings.webhook_secret)
    if settings.webhook_basic is not None:
        wire.expect_basic_auth(request, settings.webhook_basic)
    body = request.json()
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise BadWebhook(
            "the body is no callback of the SMS API: give this address to a service plan only, and to no app of "
            "another of Sinch's APIs"
        )
    return wire.collect_events(list(_parts(body)), _status_event)


def _expect_signature(request: WebhookRequest, secret: Secret) -> None:
    """Raise BadSignature unless Sinch signed this body, and not too long ago."""
    nonce, at = (request.headers.get(f"{_HEADER}-{name}", "") for name in ("nonce", "timestamp"))
    # With a dot in it a nonce could hold the end of another body.
    if "." in nonce or not at.isdecimal():
        raise BadSignature("the signature's time is missing, or is not a number of seconds")
    content = request.body + f".{nonce}.{at}".encode("utf-8", "replace")
    wire.expect_hmac(request.headers.get(_HEADER, ""), secret, content, encoding="base64")
    request.expect_fresh(int(at))


def _parts(body: Mapping[str, object]) -> Iterator[object]:
    """Yield a callback, or each status of the report on a whole batch: ours have one recipient."""
    statuses = body.get("statuses")
    if not isinstance(statuses, list):
        yield body
        return
    for status in statuses:
        yield {**body, **status, "type": body["type"]} if isinstance(status, dict) else None


def _status_event(item: Mapping[str, object]) -> StatusEvent | str:
    """Return the status of a callback, or the name under which one without a status is counted."""
    reference = wire.safe_id(item.get("client_reference"))
    if item["type"] == "mo_text":
        if not wire.says_stop(item.get("body"), "ARRET"):
            return "inbound"
        return StatusEvent(
            status=Status.UNSUBSCRIBED, message_id=reference, recipient=_number(item.get("from"))
        )
    if item["type"] in {"mo_binary", "mo_media"}:
        return "inbound"
    status = _STATUSES.get(str(item.get("status")).upper())
    if item["type"] not in {"recipient_delivery_report_sms", "delivery_report_sms"} or status is None:
        return "unknown"
    code = item["code"] if type(item.get("code")) is int else 0
    if status is Status.REJECTED and code in _FAILED_CODES:
        status = Status.FAILED
    return StatusEvent(
        status=status,
        message_id=reference,
        provider_id=wire.safe_id(item.get("batch_id")),
        code=str(code) if code in _CODES and status in _ENDS else "",
    )


def _number(value: object) -> Secret | None:
    digits = value.removeprefix("+") if isinstance(value, str) else ""
    return Secret(f"+{digits}") if digits.isascii() and digits.isdigit() and 7 <= len(digits) <= 15 else None
