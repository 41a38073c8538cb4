"""The emulated Brevo: its account, its two sends, and its webhooks for mails."""

import secrets
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from gatepost import wire
from gatepost.model import Channel, Secret, Status, WebhookRequest
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost.testing.webhook_requests import with_headers
from gatepost_brevo.testing.request_rules import read_mail, read_text, sent_headers

_CODES: Mapping[int, str] = {
    400: "invalid_parameter",
    401: "unauthorized",
    402: "not_enough_credits",
    403: "permission_denied",
    404: "document_not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    422: "unprocessable_entity",
}
_KEY_LIFETIME = 30 * 60
"""Seconds for which a key is remembered."""


class BrevoEmulator(Emulator):
    """A Brevo account that sends mails; its other class sends text messages.

    Kinds of reports: the names of its events, and ``error:sender`` for a sender that nobody has verified.
    """

    # 10 minutes, 1 hour, 2 hours, 8 hours.
    retry_pauses: ClassVar[Sequence[float]] = (600.0, 3600.0, 7200.0, 28_800.0)
    channels = frozenset({Channel.EMAIL})
    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.REPLY_TO,
            MessageFeature.HEADERS,
            MessageFeature.TAGS,
            MessageFeature.IDEMPOTENCY_KEY,
            MessageFeature.CONNECTIONS,
        }
    )
    report_features = frozenset({ReportFeature.BATCHED})
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "request": [Status.ACCEPTED],
        "deferred": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "soft_bounce": [Status.FAILED],
        "hard_bounce": [Status.FAILED],
        "error": [Status.FAILED],
        "error:sender": [Status.REJECTED],
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

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self.api_key = f"xkeysib-{secrets.token_hex(32)}"
        self.webhook_token = secrets.token_urlsafe(24)
        self.login = wire.Login(username="brevo", password=Secret(secrets.token_urlsafe(24)))
        self.senders: frozenset[str] | None = None
        """The verified senders; None: every one is verified."""
        self.credits = 1000.0
        """What is left for text messages."""
        self.is_active = True
        """False: Brevo has not approved of the account yet."""
        self._keys: dict[str, float] = {}
        self._send_paths = {"/v3/smtp/email": self._send_mail, "/v3/transactionalSMS/sms": self._send_text}

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's table that lead to this emulator."""
        return {
            "channel": "email",
            "api_key": self.api_key,
            "webhook_token": self.webhook_token,
            "base_url": self.base_url,
        }

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        mail, headers = taken.message, taken.message.get("headers", {})
        return ReceivedMessage(
            id=taken.id,
            recipients=[person["email"] for kind in ("to", "cc", "bcc") for person in mail.get(kind, ())],
            sender=mail["sender"]["email"],
            sender_name=mail["sender"].get("name", ""),
            reply_to=mail.get("replyTo", {}).get("email", ""),
            subject=mail["subject"],
            text=mail.get("textContent", ""),
            html=mail["htmlContent"],
            headers=sent_headers(headers),
            tags=mail.get("tags", ()),
            idempotency_key=headers.get("idempotencyKey", ""),
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("api-key") != self.api_key:
            return self.refuse(401, "Key not found")
        if request.path not in {"/v3/account", *self._send_paths}:
            return self.refuse(404, "no such path")
        if request.method != ("GET" if request.path == "/v3/account" else "POST"):
            return self.refuse(405, "Method not allowed")
        if request.path == "/v3/account":
            return web.json_response(self._account())
        if not self.is_active:
            return self._refuse_as("account_under_validation", "Your account is under validation", 403)
        return await self._send_paths[request.path](request, body)

    def _account(self) -> Mapping[str, Any]:
        return {
            "organization_id": "5f9f2a1c",
            "user_id": 17,
            "enterprise": False,
            "email": "owner@amazing.example",
            "companyName": "Amazing",
            "plan": [{"type": "sms", "credits": self.credits, "creditsType": "sendLimit"}],
            "relay": {"enabled": self.is_active, "data": {}},
        }

    async def _send_mail(self, request: web.BaseRequest, body: bytes) -> web.Response:
        mail = read_mail(body)
        if isinstance(mail, tuple):
            return self._refuse_as(*mail)
        message = msgspec.json.decode(body)
        if self.senders is not None and message["sender"].get("email") not in self.senders:
            return self._refuse_as("invalid_parameter", "the sender you used is not valid")
        key, now = mail.headers.get("idempotencyKey", ""), time.monotonic()
        if key and now - self._keys.get(key, -_KEY_LIFETIME) < _KEY_LIFETIME:
            return self._refuse_as("duplicate_parameter", "idempotencyKey was used already")
        self._keys[key] = now
        provider_id = f"<{secrets.token_hex(6)}.{secrets.randbelow(10**6)}@smtp-relay.mailin.example>"
        await self._take(request, message, mail.headers.get("X-Mailin-custom", ""), provider_id)
        return web.json_response({"messageId": provider_id}, status=201)

    async def _send_text(self, request: web.BaseRequest, body: bytes) -> web.Response:
        text = read_text(body)
        if isinstance(text, tuple):
            return self._refuse_as(*text)
        if self.senders is not None and text.sender not in self.senders:
            return self._refuse_as("invalid_parameter", "sender is not registered")
        if self.credits <= 0:
            return self.refuse(402, "You have insufficient credits")
        message = msgspec.json.decode(body)
        provider_id = 1_511_882_900_176_220 + secrets.randbelow(10**9)
        query = urlsplit(message.get("webUrl", "")).query
        await self._take(request, message, query.removeprefix("id="), str(provider_id))
        parts = -(-len(text.content) // (70 if text.unicode_enabled else 160))
        return web.json_response(
            {
                "reference": secrets.token_hex(9),
                "messageId": provider_id,
                "smsCount": parts,
                "usedCredits": 1.5 * parts,
                "remainingCredits": self.credits,
            },
            status=201,
        )

    async def _take(self, request: web.BaseRequest, message: Any, message_id: str, provider_id: str) -> None:
        await self.take(
            TakenMessage(id=message_id, provider_id=provider_id, message=message, headers=request.headers)
        )

    def _refuse_as(self, code: str, reason: str, status: int = 400) -> web.Response:
        return self.refuse(status, f"{code}: {reason}", body={"code": code, "message": reason})

    def error(self, status: int, reason: str) -> object:
        return {"code": _CODES.get(status, "bad_request"), "message": reason}

    def event(self, kind: str, taken: TakenMessage) -> Event:
        address, now = taken.message["to"][0]["email"], time.time()
        name, _, cause = kind.partition(":")
        event: Event = {
            "event": name,
            "email": address,
            "id": 17,
            "date": "2026-11-09 16:00:00",
            "ts": int(now),
            "ts_event": int(now),
            "ts_epoch": int(now * 1000),
            "message-id": taken.provider_id,
            "subject": taken.message["subject"],
            "X-Mailin-custom": taken.id,
            "tags": taken.message.get("tags", []),
            "contact_id": 0,
        }
        if name in {"soft_bounce", "hard_bounce", "deferred"}:
            event["reason"] = f"550 5.1.1 <{address}>: no such user"
        elif cause == "sender":
            event["reason"] = f"Sending has been rejected because the sender you used {address} is not valid"
        elif name in {"blocked", "error"}:
            event["reason"] = f"{name}: {address}"
        return event

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:
        """Return a body for each event, or lists of events, as a batched webhook has them."""
        size = batch or len(events)
        groups = [events[at : at + size] for at in range(0, len(events), size)]
        return [msgspec.json.encode(group[0] if len(group) == 1 else group) for group in groups]

    def tries_again(self, status: int) -> bool:
        """Return True for 429 only, and where there was no answer."""
        return status in {0, 429}

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        token = "forged" if forged else self.webhook_token
        return with_headers(request, {"Authorization": f"Bearer {token}"})
