"""Vonage's status webhooks (version v1): their signature and their translation. Pure functions."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from contextlib import suppress

import jwt
import msgspec

from gatepost import wire
from gatepost.errors import BadSignature, BadWebhook, WebhookRetry
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookRequest
from gatepost_vonage.error_codes import error_code

_STATUSES: Mapping[str, Sequence[Status]] = {
    "submitted": [Status.ACCEPTED],
    "delivered": [Status.DELIVERED],
    "read": [Status.OPENED],
    "undeliverable": [Status.FAILED],
    "rejected": [Status.REJECTED],
}
# `rejected` with one of these codes: Vonage accepted the message, but the network or the handset did not.
_REFUSED_LATER = "1030 1100 1180 1190 1200 1220 1230 1250 1251 1260 1270 1280 1290 1300 1310 1330 1331 1360"
_STATUSES_OF_REJECTED: Mapping[str, Sequence[Status]] = {
    **{code: [Status.FAILED] for code in _REFUSED_LATER.split()},
    "1240": [Status.UNSUBSCRIBED, Status.REJECTED],  # the user had opted out: the cause before its effect
}

_jws = jwt.PyJWS()
_SMS_API_FIELDS = frozenset({"messageId", "err-code", "msisdn"})


class _Claims(msgspec.Struct):
    """The claims that count. Expiry does not: it may have passed when Vonage repeats a report."""

    iat: float
    payload_hash: str


def read_report(request: WebhookRequest, signature_secret: Secret) -> Report:
    """Verify the request and translate it; raise the errors of the hook ``parse_webhook``."""
    # First: a receipt of the SMS API has no token, and the answer to a report that lost its token would make Vonage
    # repeat the receipt for a day.
    if _is_sms_api_receipt(request):
        raise BadWebhook(
            "this is a delivery receipt of Vonage's SMS API; Gatepost sends by the Messages API and expects its status "
            "webhooks (v1): in the Vonage dashboard choose the Messages API for SMS, and remove this address from the "
            "account's delivery receipt webhook"
        )
    if request.method != "POST":
        raise BadWebhook("a status webhook of the Messages API (v1) is a POST with a JSON body")
    _verify(request, signature_secret.reveal())
    return _translate(request.json())


def _is_sms_api_receipt(request: WebhookRequest) -> bool:
    """Tell whether this looks like a receipt of the SMS API; the account may send a query, a form or JSON."""
    names: set[str] = set(request.query)
    if len(request.body) < 4096:  # a receipt has a few hundred bytes
        with suppress(BadWebhook):
            names.update(name for name, _ in request.form)
        with suppress(BadWebhook):
            body = request.json()
            names.update(body if isinstance(body, dict) else ())
    return len(names & _SMS_API_FIELDS) >= 2


def _verify(request: WebhookRequest, signature_secret: str) -> None:
    """Raise BadSignature unless Vonage signed this body, and not too long ago; WebhookRetry if it did not sign."""
    authorization = request.headers.get("authorization", "").strip()
    if not authorization:
        raise WebhookRetry("the report is not signed; Vonage signs it when it repeats it")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise BadSignature("the Authorization header holds no bearer token")
    # Zeros at the end of a key do not change an HMAC (RFC 2104), and PyJWT warns about keys under 32 bytes.
    key = signature_secret.encode().ljust(32, b"\0")
    try:
        payload = _jws.decode(token.strip(), key, algorithms=["HS256"])
    # PyJWT raises ValueError for lone surrogates, and version 2.12 RecursionError for a deeply nested header.
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise BadSignature("the token is not signed with the account's signature secret") from None
    try:
        # RFC 7519 says that a time is a number. A text is signed all the same, and a 401 would lose the report.
        claims = msgspec.json.decode(payload, type=_Claims, strict=False)
    except (ValueError, RecursionError):
        raise BadSignature("the token does not hold the body's hash and its own time") from None
    actual_hash = hashlib.sha256(request.body).hexdigest()
    if not hmac.compare_digest(claims.payload_hash.lower().encode("utf-8", "replace"), actual_hash.encode()):
        raise BadSignature("the token was issued for another body")
    request.expect_fresh(claims.iat)


def _translate(body: object) -> Report:
    if not isinstance(body, dict):
        raise BadWebhook("the body is not a JSON object, as a status webhook of the Messages API (v1) is")
    status = body.get("status")
    message_id, provider_id = wire.safe_id(body.get("client_ref")), wire.safe_id(body.get("message_uuid"))
    if not isinstance(status, str):
        raise BadWebhook("the body has no status: give this address only as the application's status URL")
    if not (message_id or provider_id):
        raise BadWebhook("the body has neither a client_ref nor a message_uuid")
    code = error_code(body.get("error"))
    statuses = _STATUSES.get(status, ())
    if status == "rejected":
        statuses = _STATUSES_OF_REJECTED.get(code, statuses)
    events = [
        StatusEvent(status=status, message_id=message_id, provider_id=provider_id, code=code)
        for status in statuses
    ]
    return Report(events=events) if events else Report(ignored={"unknown": 1})
