"""Status webhooks, form v1: is it Vonage's, and what does it say."""

import hashlib
import hmac
import re
from urllib.parse import parse_qs

import jwt
from jwt.types import Options

from gatepost.errors import BadSignature, BadWebhook, WebhookRetry
from gatepost.model import Report, Status, StatusEvent, WebhookRequest
from gatepost_vonage.problems import problem_code

_MEANINGS = {
    "submitted": Status.ACCEPTED,
    "delivered": Status.DELIVERED,
    "read": Status.OPENED,
    "undeliverable": Status.FAILED,
}
_OPTED_OUT = "1240"
# `rejected` with one of these: Vonage took the message, and the network or the handset did not.
_NETWORK_OR_HANDSET = frozenset(
    "1030 1100 1180 1190 1200 1220 1230 1250 1251 1260 1270 1280 1290 1300 1310 1330 1331 1360".split()  # noqa: SIM905  one line, not eighteen
)

# Of the claims only iat and payload_hash are judged, below and by the core's clock. Not a token's own end:
# it may have passed when Vonage tries again, and a replay is harmless.
_SIGNATURE_ALONE: Options = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}

_SECONDS = re.compile(r"[0-9]{1,15}")
_ID = re.compile(r"[\x21-\x7e]{1,255}")
_OLDER_API_FIELDS = frozenset({"messageId", "err-code", "msisdn"})
_LONGEST_RECEIPT = 4096
_OLDER_API = (
    "this is a delivery receipt of Vonage's SMS API; Gatepost sends by the Messages API and expects that "
    "one's status webhooks (v1): in the Vonage dashboard choose the Messages API for SMS, and take this "
    "address out of the account's delivery receipt webhook"
)


def read_report(request: WebhookRequest, signature_secret: str) -> Report:
    """Verify the request, then translate it; raises as ``parse_webhook`` may."""
    authorization = request.headers.get("authorization", "").strip()
    # The older API's receipts bear no token, and to answer them like a report that lost its own would have
    # Vonage send them again for a day.
    if not authorization and _is_older_api(request):
        raise BadWebhook(_OLDER_API)
    if request.method != "POST":
        raise BadWebhook("a status webhook of the Messages API (v1) is a POST with a JSON body")
    if not authorization:
        raise WebhookRetry("the report is not signed; Vonage signs it when it sends it again")
    _verify(request, authorization, signature_secret)
    body = request.json()
    if not isinstance(body, dict):
        raise BadWebhook("the body is not a JSON object, so no status webhook of the Messages API (v1)")
    if _is_older_api(request):
        raise BadWebhook(_OLDER_API)
    return _translate(body)


def _verify(request: WebhookRequest, authorization: str, signature_secret: str) -> None:
    """Raise BadSignature unless Vonage signed this very body, not too long ago."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise BadSignature("the Authorization header holds no bearer token")
    # Zeros at its end leave an HMAC as it is (RFC 2104), and PyJWT warns about keys of less than 32 bytes.
    key = signature_secret.encode().ljust(32, b"\0")
    try:
        claims = jwt.decode(
            token.strip(),
            key,
            algorithms=["HS256"],
            options=_SIGNATURE_ALONE,
        )
    # PyJWT raises the other two for lone surrogates and, in 2.12, for a header that is nested too deep.
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise BadSignature("the token is not signed with the account's signature secret") from None
    issued, stated = claims.get("iat"), claims.get("payload_hash")
    if not isinstance(stated, str):
        raise BadSignature("the token says nothing about the body")
    found = hashlib.sha256(request.body).hexdigest()
    if not hmac.compare_digest(stated.lower().encode("utf-8", "replace"), found.encode()):
        raise BadSignature("the token was made for another body")
    # A number by RFC 7519. One that comes as a text is signed all the same, and a 401 would lose the report.
    if isinstance(issued, str) and _SECONDS.fullmatch(issued):
        issued = int(issued)
    if not isinstance(issued, int | float):
        raise BadSignature("the token does not say when it was made")
    request.expect_fresh(issued)


def _is_older_api(request: WebhookRequest) -> bool:
    """Whether this looks like a receipt of the SMS API: a query, a form or JSON, as the account has it."""
    names: set[str] = set(request.query)
    if len(request.body) < _LONGEST_RECEIPT:
        try:
            body = request.json()
        except BadWebhook:
            body = parse_qs(request.body.decode("utf-8", "replace"))
        names.update(body if isinstance(body, dict) else ())
    return len(names & _OLDER_API_FIELDS) >= 2


def _translate(body: dict[str, object]) -> Report:
    status = body.get("status")
    message_id, provider_id = _id(body.get("client_ref")), _id(body.get("message_uuid"))
    if not isinstance(status, str):
        raise BadWebhook("there is no status in it: only the application's status URL belongs here")
    if not (message_id or provider_id):
        raise BadWebhook("there is neither a client_ref nor a message_uuid in it")
    code = problem_code(body.get("error"))
    meanings = _meanings(status, code)
    if not meanings:
        return Report(ignored={"unknown_status": 1})
    return Report(
        events=[
            StatusEvent(status=meaning, message_id=message_id, provider_id=provider_id, code=code)
            for meaning in meanings
        ]
    )


def _meanings(status: str, code: str) -> list[Status]:
    if status != "rejected":
        meaning = _MEANINGS.get(status)
        return [meaning] if meaning else []
    if code == _OPTED_OUT:
        # The cause before its effect: because the user had opted out, the message was refused.
        return [Status.UNSUBSCRIBED, Status.REJECTED]
    return [Status.FAILED if code in _NETWORK_OR_HANDSET else Status.REJECTED]


def _id(value: object) -> str:
    """``value`` where it can be an id (ASCII without spaces), otherwise empty."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""
