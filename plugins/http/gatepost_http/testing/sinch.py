"""Sinch's SMS API: its batches, and its delivery reports with the signature of a service plan.

Made from the vendor's API reference and from its own SDK, which checks the same signature.
"""

import hashlib
import hmac
import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from gatepost.model import Status, WebhookRequest
from gatepost.testing.emulator import raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost.testing.webhook_requests import with_headers
from gatepost_http.testing.described import DescribedProvider, decode

_BATCHES = "/xms/v1/jd63jf88477ll123ab4567cd89012ef3/batches"
_MAX_EXPIRY = 3 * 86_400
_CODES = {"Queued": 400, "Dispatched": 401, "Delivered": 0, "Failed": 402, "Expired": 406, "Rejected": 403}


class _Batch(msgspec.Struct, forbid_unknown_fields=True, rename={"sender": "from"}):
    to: Annotated[
        list[Annotated[str, Meta(pattern=r"\A\+?[1-9][0-9]{6,14}\Z")]], Meta(min_length=1, max_length=1)
    ]
    body: Annotated[str, Meta(max_length=2000)]
    sender: Annotated[str, Meta(min_length=1)]
    type: Literal["mt_text"] = "mt_text"
    delivery_report: Literal["none", "summary", "full", "per_recipient", "per_recipient_final"] = "none"
    expire_at: Annotated[datetime, Meta(tz=True)] | None = None
    callback_url: Annotated[str, Meta(pattern=r"\Ahttps?://")] = ""
    client_reference: Annotated[str, Meta(max_length=2048)] = ""


class SinchEmulator(DescribedProvider):
    """Sinch. Kinds of reports: its statuses, and ``STOP`` for what a user answers."""

    # From 5 seconds, doubled each time up to 81,920.
    retry_pauses: ClassVar[Sequence[float]] = tuple(5.0 * 2**n for n in range(15))
    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.LIFETIME,
            MessageFeature.WEBHOOK_URL,
            MessageFeature.CONNECTIONS,
        }
    )
    report_features = frozenset(
        {ReportFeature.BODY_SIGNED, ReportFeature.IDS_SIGNED, ReportFeature.TIME_SIGNED}
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "Queued": [Status.ACCEPTED],
        "Dispatched": [Status.ACCEPTED],
        "Delivered": [Status.DELIVERED],
        "Failed": [Status.FAILED],
        "Expired": [Status.FAILED],
        "Deleted": [Status.FAILED],
        "Rejected": [Status.REJECTED],
        "Aborted": [Status.REJECTED],
        "Cancelled": [Status.REJECTED],
        "Unknown": [],
    }
    verification_keys = frozenset({"webhook_hmac"})

    @property
    def environment(self) -> Mapping[str, str]:
        return {"SINCH_API_TOKEN": "emulated-sinch-token", "SINCH_WEBHOOK_SECRET": "emulated-sinch-secret"}

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        batch = taken.message
        expires = batch.get("expire_at")
        seconds = expires and datetime.fromisoformat(expires).timestamp() - float(
            taken.headers["X-Received-At"]
        )
        return ReceivedMessage(
            id=taken.id,
            recipients=[f"+{to.removeprefix('+')}" for to in batch["to"]],
            sender=batch["from"],
            text=batch["body"],
            lifetime=seconds,
            webhook_url=batch.get("callback_url", ""),
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.environment['SINCH_API_TOKEN']}":
            return self.refuse(401, "unauthorized")
        match request.method, request.path:
            case "GET", path if path == _BATCHES:
                return web.json_response({"count": 0, "page": 0, "page_size": 1, "batches": []})
            case "POST", path if path == _BATCHES:
                return await self._send(request, body)
        return self.refuse(404, "not found")

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        batch = decode(body, _Batch)
        if isinstance(batch, str):
            return self.refuse(400, batch)
        now = datetime.now(UTC)
        if batch.expire_at and not 0 < (batch.expire_at - now).total_seconds() <= _MAX_EXPIRY:
            return self.refuse(400, "expire_at must be within 3 days")
        message, provider_id = msgspec.json.decode(body), f"01{uuid.uuid4().hex[:24].upper()}"
        await self.take(
            TakenMessage(
                id=batch.client_reference,
                provider_id=provider_id,
                message=message,
                headers={**request.headers, "X-Received-At": str(now.timestamp())},
            )
        )
        times = {"created_at": now.isoformat(), "modified_at": now.isoformat()}
        return web.json_response({"id": provider_id, "canceled": False, **message, **times}, status=201)

    def error(self, status: int, reason: str) -> object:
        return {"code": "syntax_constraint_violation" if status == 400 else "error", "text": reason}

    def event(self, kind: str, taken: TakenMessage) -> Event:
        if kind == "STOP":
            return {
                "type": "mo_text",
                "id": uuid.uuid4().hex,
                "from": taken.message["to"][0].removeprefix("+"),
                "to": "447700900999",
                "body": " stop ",
                "received_at": "2026-11-09T16:00:00.000Z",
            }
        return {
            "type": "recipient_delivery_report_sms",
            "at": "2026-11-09T16:00:00.000Z",
            "batch_id": taken.provider_id,
            "client_reference": taken.id,
            "code": _CODES.get(kind, 404),
            "recipient": taken.message["to"][0],
            "status": kind,
        }

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        secret = "forged" if forged else self.environment["SINCH_WEBHOOK_SECRET"]
        nonce, at = uuid.uuid4().hex, str(int(request.received_at))
        payload = request.body + f".{nonce}.{at}".encode()
        signature = hmac.new(secret.encode(), payload, hashlib.sha256).digest()
        return with_headers(
            request,
            {
                "x-sinch-webhook-signature": b64encode(signature).decode(),
                "x-sinch-webhook-signature-timestamp": at,
                "x-sinch-webhook-signature-nonce": nonce,
                # The vendor adds -algorithm, which the signature does not cover and no reader needs.
            },
        )
