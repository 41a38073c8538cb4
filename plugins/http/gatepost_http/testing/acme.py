"""The emulator of an aggregator that does not exist: strict, and with everything that a table can describe.

It is what ``gatepost conformance http`` and ``gatepost demo --provider http`` run on.
"""

import hmac
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from aiohttp import web
from msgspec import Meta

from gatepost.model import Channel, Status, WebhookRequest
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost.testing.webhook_requests import with_headers
from gatepost_http.testing.described import decode

_TOKEN = "emulated-acme-token"  # noqa: S105  of no real account
_WEBHOOK_KEY = "emulated-acme-webhook-key"
_UUID = r"\A[0-9a-f-]{36}\Z"


_TABLE: Mapping[str, Any] = {
    "channel": "sms",
    "bearer": _TOKEN,
    "longest_lifetime": 172_800,
    "replay_safe": 600,
    "request": {
        "path": "/messages",
        "headers": {"Idempotency-Key": "{idempotency_key}"},
        "json": {
            "to": "{recipient}",
            "from": "{sender}",
            "text": "{text}",
            "ref": "{id}",
            "validity": "{lifetime_seconds:number}",
            "callback": "{callback_url}",
        },
    },
    "answer": {
        "success": [202],
        "id": "/message/id",
        "parts": "/message/parts",
        "code": "/error/code",
        "errors": [
            {"at": "/error/code", "values": ["STOPPED"], "means": "unsubscribed"},
            {"at": "/error/code", "values": ["NO_CREDIT"], "means": "misconfigured"},
        ],
    },
    "ping": {"path": "/account"},
    "webhook": {
        "reports": "/reports",
        "id": "/ref",
        "provider_id": "/id",
        "status": "/status",
        "code": "/reason",
        "statuses": {
            "BUFFERED": "",
            "SENT": "accepted",
            "DELIVERED": "delivered",
            "UNDELIVERED": "failed",
            "EXPIRED": "failed",
            "REFUSED": "rejected",
            "STOPPED": "unsubscribed",
        },
    },
    "webhook_hmac": {
        "key": _WEBHOOK_KEY,
        "header": "X-Acme-Signature",
        "prefix": "v1=",
        "signed": ["timestamp", "body"],
        "joined_by": ".",
        "timestamp_header": "X-Acme-Time",
    },
}


class _Message(msgspec.Struct, forbid_unknown_fields=True, rename={"sender": "from"}):
    to: Annotated[str, Meta(pattern=r"\A\+[1-9][0-9]{6,14}\Z")]
    text: str
    sender: Annotated[str, Meta(min_length=1)]
    ref: Annotated[str, Meta(pattern=_UUID)]
    validity: Annotated[int, Meta(ge=1, le=172_800)]
    callback: Annotated[str, Meta(pattern=r"\Ahttps?://")] = ""


class AcmeEmulator(Emulator):
    """The aggregator. Kinds of reports: BUFFERED, SENT, DELIVERED, UNDELIVERED, EXPIRED, REFUSED, STOPPED."""

    channels: ClassVar[Collection[Channel]] = frozenset({Channel.SMS})
    message_features: ClassVar[Collection[MessageFeature]] = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.LIFETIME,
            MessageFeature.WEBHOOK_URL,
            MessageFeature.IDEMPOTENCY_KEY,
            MessageFeature.CONNECTIONS,
        }
    )
    report_features: ClassVar[Collection[ReportFeature]] = frozenset(
        {
            ReportFeature.BODY_SIGNED,
            ReportFeature.IDS_SIGNED,
            ReportFeature.TIME_SIGNED,
            ReportFeature.BATCHED,
        }
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "BUFFERED": [],
        "SENT": [Status.ACCEPTED],
        "DELIVERED": [Status.DELIVERED],
        "UNDELIVERED": [Status.FAILED],
        "EXPIRED": [Status.FAILED],
        "REFUSED": [Status.REJECTED],
        "STOPPED": [Status.UNSUBSCRIBED],
    }
    verification_keys: ClassVar[Collection[str]] = frozenset({"webhook_hmac"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._answers: dict[str, tuple[bytes, str]] = {}
        """The body, and the id of the message that it became, for each idempotency key."""

    @property
    def table(self) -> Mapping[str, Any]:
        """The table that describes it."""
        return {"base_url": self.base_url, **_TABLE}

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        message = taken.message
        return ReceivedMessage(
            id=taken.id,
            recipients=[message["to"]],
            sender=message["from"],
            text=message["text"],
            lifetime=message["validity"],
            webhook_url=message.get("callback", ""),
            idempotency_key=taken.headers["Idempotency-Key"],
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {_TOKEN}":
            return self.refuse(401, "UNKNOWN_TOKEN")
        match request.method, request.raw_path:
            case "GET", "/account":
                return web.json_response({"credit": "17.20"})
            case "POST", "/messages":
                return await self._send(request, body)
        return self.refuse(404, "NO_SUCH_URL")

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        message = decode(body, _Message)
        key = request.headers.get("Idempotency-Key", "")
        if isinstance(message, str) or request.headers.get("Content-Type") != "application/json" or not key:
            return self.refuse(400, "MALFORMED")
        known_body, message_id = self._answers.setdefault(key, (body, uuid.uuid4().hex))
        if known_body != body:
            return self.refuse(409, "KEY_REUSED")
        if not any(taken.provider_id == message_id for taken in self.taken):
            await self.take(
                TakenMessage(
                    id=message.ref,
                    provider_id=message_id,
                    message=msgspec.json.decode(body),
                    headers=request.headers,
                )
            )
        return web.json_response({"message": {"id": message_id, "parts": 1}}, status=202)

    def error(self, status: int, reason: str) -> object:  # noqa: ARG002  its errors have no number
        return {"error": {"code": reason}}

    def event(self, kind: str, taken: TakenMessage) -> Event:
        reason = {"UNDELIVERED": "ABSENT", "REFUSED": "SPAM"}.get(kind)
        return {"ref": taken.id, "id": taken.provider_id, "status": kind, "reason": reason}

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:
        size = batch or len(events) or 1
        return [
            msgspec.json.encode({"reports": events[start : start + size]})
            for start in range(0, len(events), size)
        ]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        at = str(int(request.received_at))
        key = "forged" if forged else _WEBHOOK_KEY
        signature = hmac.digest(key.encode(), at.encode() + b"." + request.body, "sha256").hex()
        headers = {"X-Acme-Time": at, "X-Acme-Signature": f"v1={signature}"}
        return with_headers(request, {"Content-Type": "application/json", **headers})
