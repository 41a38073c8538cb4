"""The emulated Vonage: the Messages API, and its status webhooks."""

import hashlib
import secrets
import ssl
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar

import jwt
import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gatepost.model import Status, WebhookRequest
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import AutomaticReports, Event, TakenMessage
from gatepost.testing.webhook_requests import with_headers
from gatepost_vonage.testing.request_rules import missing_parameters, wrong_parameters

_ERROR_PAGES = "https://developer.vonage.com/api-errors"
_DAY = 86_400
"""Seconds that a token is valid for at most."""

# The end of `type`, and `title`, of an error that has nothing but a status.
_TITLES: Mapping[int, tuple[str, str]] = {
    400: ("#bad-request", "Bad Request"),
    401: ("#unauthorized", "Unauthorized"),
    402: ("#low-balance", "Low balance"),
    403: ("#forbidden", "Forbidden"),
    404: ("#not-found", "Not Found"),
    415: ("#unsupported-media-type", "Unsupported Media Type"),
    422: ("/messages#1020", "Invalid params"),
    429: ("/messages#1000", "Throttled"),
    500: ("/messages#1030", "Internal error"),
}


class VonageEmulator(Emulator):
    """Vonage's Messages API for SMS, Viber and WhatsApp, its users (which a ping reads), and its status webhooks.

    Kinds of reports: submitted, delivered, read, undeliverable, rejected; with an error's code as in
    ``"rejected:1240"``. As at the vendor, a message's own webhook_url takes precedence over ``webhook_url``.
    """

    # From 5 seconds, doubled each time up to 15 minutes, for a day.
    retry_pauses = (*(5.0 * 2**n for n in range(8)), *(900.0,) * 94)
    signs_retries = True

    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.LIFETIME,
            MessageFeature.WEBHOOK_URL,
            MessageFeature.CONNECTIONS,
        }
    )
    # Vonage sends one report per request.
    report_features = frozenset(
        {ReportFeature.BODY_SIGNED, ReportFeature.IDS_SIGNED, ReportFeature.TIME_SIGNED}
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "submitted": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "read": [Status.OPENED],
        "undeliverable": [Status.FAILED],
        "rejected:1120": [Status.REJECTED],
        "rejected:1260": [Status.FAILED],
        "rejected:1240": [Status.UNSUBSCRIBED, Status.REJECTED],
        "priced": [],
    }
    verification_keys = frozenset({"signature_secret"})

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tls=tls, port=port)
        self.application_id = str(uuid.uuid4())
        self.api_key = secrets.token_hex(4)
        self.signature_secret = secrets.token_hex(25)
        self._clock = clock

    @property
    def private_key(self) -> str:
        """The application's private key, in PEM."""
        return (
            _application_key()
            .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            .decode("ascii")
        )

    @property
    def table(self) -> Mapping[str, str]:
        """The keys of the plugin's table that lead to this emulator."""
        return {
            "application_id": self.application_id,
            "private_key": self.private_key,
            "signature_secret": self.signature_secret,
            "base_url": self.base_url,
        }

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        message = taken.message
        ttl = message.get("ttl", message.get("viber_service", {}).get("ttl"))
        return ReceivedMessage(
            id=taken.id,
            recipients=[f"+{message['to']}"],
            sender=message["from"],
            text=_text(message),
            lifetime=None if ttl is None else float(ttl),
            webhook_url=message.get("webhook_url", ""),
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        error = self._token_error(request.headers.get("Authorization", ""))
        if error:
            return self.refuse(401, error)
        match request.method, request.path:
            case "GET", "/v1/users":
                return web.json_response({"page_size": 1, "_embedded": {"users": []}, "_links": {}})
            case "POST", "/v1/messages":
                return await self._send(request, body)
        return self.refuse(404, "there is no such resource")

    def _token_error(self, authorization: str) -> str:
        """Return what is wrong with the application's token; empty where the token is good."""
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer":
            return "no bearer token"
        try:
            claims = jwt.decode(
                token,
                _application_key().public_key(),
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_iat": False, "require": ["iat", "exp", "jti"]},
            )
        except jwt.PyJWTError as error:
            return type(error).__name__
        issued, ends, now = claims["iat"], claims["exp"], self._clock()
        if claims.get("application_id") != self.application_id:
            return "another application's token"
        if type(issued) is not int or type(ends) is not int or ends - issued > _DAY:
            return "the token is valid for more than a day"
        if not issued <= now:
            return "the token is from the future"
        return "" if now < ends else "the token has expired"

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.content_type != "application/json":
            return self.refuse(415, "the Content-Type is not JSON")
        try:
            message = msgspec.json.decode(body, type=dict[str, Any])
        except (ValueError, RecursionError):
            return self.refuse(400, "the body is not a JSON object")
        if missing := list(missing_parameters(message)):
            return self._refuse_params("1010", "Missing params", missing)
        if errors := list(wrong_parameters(message)):
            return self._refuse_params("1020", "Invalid params", errors)
        provider_id = str(uuid.uuid4())
        client_ref = message.get("client_ref", "")
        await self.take(
            TakenMessage(id=client_ref, provider_id=provider_id, message=message, headers=request.headers)
        )
        return web.json_response({"message_uuid": provider_id}, status=202)

    def _refuse_params(self, code: str, title: str, errors: list[dict[str, str]]) -> web.Response:
        problem = {
            **_problem(f"/messages#{code}", title, f"{title}: {len(errors)} of the parameters"),
            "invalid_parameters": errors,
        }
        return self.refuse(422, f"{code} {', '.join(error['name'] for error in errors)}", body=problem)

    def error(self, status: int, reason: str) -> object:
        end, title = _TITLES.get(status, _TITLES[500])
        return _problem(end, title, reason)

    def event(self, kind: str, taken: TakenMessage) -> Event:
        status, _, code = kind.partition(":")
        message = taken.message
        event = {
            "message_uuid": taken.provider_id,
            "to": message["to"],
            "from": message["from"],
            "timestamp": datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "status": status,
            "channel": message["channel"],
        }
        if message["channel"] == "sms":
            event |= {"destination": {"network_code": "12345"}, "sms": {"count_total": "1"}}
        if taken.id:
            event["client_ref"] = taken.id
        if code:
            # The detail quotes the number, as the vendor's may do.
            event["error"] = _problem(f"/messages#{code}", code, f"{status}: {message['to']} ({code})")
        if status == "delivered":
            event["usage"] = {"currency": "EUR", "price": "0.0333"}
        return event

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:  # noqa: ARG002  each body holds one event
        return [msgspec.json.encode(event) for event in events]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        claims = {
            "iat": int(request.received_at),
            "jti": str(uuid.uuid4()),
            "iss": "Vonage",
            "payload_hash": hashlib.sha256(request.body).hexdigest(),
            "api_key": self.api_key,
            "application_id": self.application_id,
        }
        secret = "not the account's signature secret" if forged else self.signature_secret
        token = jwt.encode(claims, secret, algorithm="HS256")
        return with_headers(request, {"Authorization": f"Bearer {token}"})

    def tries_again(self, status: int) -> bool:
        """Return True for 429 and 5xx only; a report that gets no answer is not sent again either."""
        return status == 429 or status >= 500

    async def _report_on(self, taken: TakenMessage, automatic: AutomaticReports) -> None:
        to = taken.message.get("webhook_url", "")
        for kind in automatic.kinds:
            event = self.event(kind, taken)
            await self.report([event], to=to, delay=automatic.delay, tries=len(self.retry_pauses))


def _text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, or the parameters that fill its template."""
    text: str = message["text"] if "text" in message else "\n".join(message["template"].get("parameters", ()))
    return text


def _problem(end: str, title: str, detail: str) -> dict[str, Any]:
    """Return an error object in the form of RFC 7807."""
    return {"type": _ERROR_PAGES + end, "title": title, "detail": detail, "instance": uuid.uuid4().hex}


@cache
def _application_key() -> rsa.RSAPrivateKey:
    """Return the one key of this process: a new one takes up to a second of CPU.

    Applications differ in their application_id.
    """
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)
