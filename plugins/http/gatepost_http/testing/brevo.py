"""Brevo's transactional email: its API with idempotency keys, and its webhooks with a bearer token.

Made from the vendor's documentation and from the models of its own SDK.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from aiohttp import web
from msgspec import Meta

from gatepost.model import Status, WebhookRequest
from gatepost.testing.emulator import raw_request
from gatepost.testing.features import MessageFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost.testing.webhook_requests import with_headers
from gatepost_http.testing.described import DescribedProvider, decode

_Address = Annotated[str, Meta(pattern=r"\A[^@\s]+@[^@\s]+\Z")]
_CODES = {400: "invalid_parameter", 401: "unauthorized", 402: "not_enough_credits", 404: "document_not_found"}


class _Sender(msgspec.Struct, forbid_unknown_fields=True):
    email: _Address
    name: Annotated[str, Meta(min_length=1, max_length=70)] | None = None


class _Person(msgspec.Struct, forbid_unknown_fields=True):
    email: _Address
    name: str | None = None


class _Mail(msgspec.Struct, forbid_unknown_fields=True):
    sender: _Sender
    to: Annotated[list[_Person], Meta(min_length=1, max_length=1)]
    subject: Annotated[str, Meta(min_length=1)]
    htmlContent: Annotated[str, Meta(min_length=1)]  # noqa: N815  the vendor's names
    textContent: str | None = None  # noqa: N815
    replyTo: _Person | None = None  # noqa: N815
    headers: dict[str, str] = {}


class BrevoEmulator(DescribedProvider):
    """Brevo. Kinds of reports: its events."""

    # 10 minutes, 1 hour, 2 hours, 8 hours.
    retry_pauses: ClassVar[Sequence[float]] = (600.0, 3600.0, 7200.0, 28_800.0)
    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.REPLY_TO,
            MessageFeature.HEADERS,
            MessageFeature.IDEMPOTENCY_KEY,
            MessageFeature.CONNECTIONS,
        }
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "request": [Status.ACCEPTED],
        "deferred": [],
        "delivered": [Status.DELIVERED],
        "hard_bounce": [Status.FAILED],
        "soft_bounce": [Status.FAILED],
        "error": [Status.FAILED],
        "blocked": [Status.REJECTED],
        "invalid_email": [Status.REJECTED],
        "opened": [Status.OPENED],
        "unique_opened": [Status.OPENED],
        "proxy_open": [],
        "unique_proxy_open": [],
        "click": [],
        "spam": [Status.COMPLAINED],
        "unsubscribed": [Status.UNSUBSCRIBED],
    }
    verification_keys = frozenset({"webhook_token"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._keys: set[str] = set()

    @property
    def environment(self) -> Mapping[str, str]:
        return {"BREVO_API_KEY": "emulated-brevo-key", "BREVO_WEBHOOK_TOKEN": "emulated-brevo-token"}

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        mail = taken.message
        return ReceivedMessage(
            id=taken.id,
            recipients=[person["email"] for person in mail["to"]],
            sender=mail["sender"]["email"],
            sender_name=mail["sender"].get("name", ""),
            reply_to=mail.get("replyTo", {}).get("email", ""),
            subject=mail["subject"],
            text=mail.get("textContent", ""),
            html=mail["htmlContent"],
            headers=mail.get("headers", {}),
            idempotency_key=mail.get("headers", {}).get("idempotencyKey", ""),
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("api-key") != self.environment["BREVO_API_KEY"]:
            return self.refuse(401, "Key not found")
        match request.method, request.path:
            case "GET", "/v3/account":
                return web.json_response({"email": "owner@amazing.example", "plan": []})
            case "POST", "/v3/smtp/email":
                return await self._send(request, body)
        return self.refuse(404, "no such path")

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        mail = decode(body, _Mail)
        if isinstance(mail, str):
            return self.refuse(400, mail)
        key = mail.headers.get("idempotencyKey", "")
        if key and key in self._keys:
            answer = {"code": "duplicate_parameter", "message": "the idempotencyKey was used already"}
            return self.refuse(400, "a repeat", body=answer)
        self._keys.add(key)
        provider_id = f"<{uuid.uuid4().hex}@smtp-relay.example>"
        await self.take(
            TakenMessage(
                id=mail.headers.get("X-Mailin-custom", ""),
                provider_id=provider_id,
                message=msgspec.json.decode(body),
                headers=request.headers,
            )
        )
        return web.json_response({"messageId": provider_id}, status=201)

    def error(self, status: int, reason: str) -> object:
        return {"code": _CODES.get(status, "bad_request"), "message": reason}

    def event(self, kind: str, taken: TakenMessage) -> Event:
        return {
            "event": kind,
            "email": taken.message["to"][0]["email"],
            "id": 17,
            "date": "2026-11-09 16:00:00",
            "ts": 1_794_240_000,
            "message-id": taken.provider_id,
            "ts_event": 1_794_240_000,
            "subject": taken.message["subject"],
            "X-Mailin-custom": taken.id,
            "reason": f"about {taken.message['to'][0]['email']}",
            "tags": [],
        }

    def tries_again(self, status: int) -> bool:
        """Return True for 429 only, and where there was no answer."""
        return status in {0, 429}

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        token = "forged" if forged else self.environment["BREVO_WEBHOOK_TOKEN"]
        return with_headers(request, {"Authorization": f"Bearer {token}"})
