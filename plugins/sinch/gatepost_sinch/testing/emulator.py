"""The emulated Sinch: one service plan of the SMS API, its batches and its callbacks."""

import hashlib
import hmac
import secrets
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

import msgspec
from aiohttp import web
from msgspec import UNSET

from gatepost.model import Status, WebhookRequest
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import AutomaticReports, Event, TakenMessage
from gatepost.testing.webhook_requests import with_headers
from gatepost_sinch.testing.batch_rules import read_batch

_RECEIVED_AT = "X-Received-At"
_CODES = {
    "Queued": 400,
    "Dispatched": 401,
    "Delivered": 0,
    "Failed": 30,
    "Expired": 406,
    "Deleted": 32,
    "Rejected": 408,
    "Aborted": 402,
    "Cancelled": 407,
    "Unknown": 0,
}


class SinchEmulator(Emulator):
    """A service plan. Kinds of reports: the statuses, with a code as in ``Aborted:404``; ``inbound:`` and a text."""

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
        "Aborted:403": [Status.FAILED],
        "Aborted:404": [Status.FAILED],
        "Aborted:406": [Status.FAILED],
        "Rejected": [Status.REJECTED],
        "Aborted": [Status.REJECTED],
        "Aborted:413": [Status.REJECTED],
        "Cancelled": [Status.REJECTED],
        "Unknown": [Status.ACCEPTED],
        "inbound: Stop ": [Status.UNSUBSCRIBED],
        "inbound:Thanks": [],
    }
    verification_keys = frozenset({"webhook_secret"})

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self.service_plan_id = secrets.token_hex(16)
        self.api_token = secrets.token_hex(16)
        self.webhook_secret = secrets.token_urlsafe(24)
        self.default_originator = False
        """Whether Sinch chooses the sender of a batch that has none."""
        self.has_callback_url = True
        """Whether the service plan has a callback URL, for the reports on a batch that names none."""
        self.blocked = False
        """Whether the account is blocked, as one without credit is."""

    @property
    def table(self) -> Mapping[str, str]:
        """The keys of the plugin's table that lead to this emulator."""
        return {
            "service_plan_id": self.service_plan_id,
            "api_token": self.api_token,
            "webhook_secret": self.webhook_secret,
            "base_url": self.base_url,
        }

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        batch, lifetime = taken.message, None
        if "expire_at" in batch:
            ends = datetime.fromisoformat(batch["expire_at"])
            lifetime = ends.timestamp() - float(taken.headers[_RECEIVED_AT])
        return ReceivedMessage(
            id=taken.id,
            recipients=[f"+{number.removeprefix('+')}" for number in batch["to"]],
            sender=batch.get("from", ""),
            text=batch["body"],
            lifetime=lifetime,
            webhook_url=batch.get("callback_url", ""),
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.path != f"/xms/v1/{self.service_plan_id}/batches":
            return self.refuse(404, "no such resource")
        if request.headers.get("Authorization") != f"Bearer {self.api_token}":
            return self.refuse(401, "the token is not valid for this service plan")
        match request.method:
            case "GET":
                return web.json_response({"page": 0, "page_size": 0, "count": 0, "batches": []})
            case "POST":
                return await self._send(request, body)
        return self.refuse(405, "not with this method")

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.content_type != "application/json":
            return self.refuse(415, "the Content-Type is not JSON")
        now = datetime.now(UTC)
        batch = read_batch(body, now)
        if isinstance(batch, tuple):
            return self.refuse_as(400, *batch)
        if batch.sender is UNSET and not self.default_originator:
            return self.refuse_as(400, "syntax_constraint_violation", "from is required")
        if batch.delivery_report != "none" and batch.callback_url is UNSET and not self.has_callback_url:
            return self.refuse_as(403, "missing_callback_url", "no callback URL is configured")
        if self.blocked:
            return self.refuse_as(403, "blocked_account", "the account is blocked")
        message = msgspec.json.decode(body)
        taken = TakenMessage(
            id=message.get("client_reference", ""),
            provider_id=f"01{secrets.token_hex(12).upper()}",
            message=message,
            headers={**request.headers, _RECEIVED_AT: str(now.timestamp())},
        )
        await self.take(taken)
        times = {"created_at": now.isoformat(), "modified_at": now.isoformat()}
        numbers = [number.removeprefix("+") for number in batch.to]
        answer = {**message, "to": numbers, "id": taken.provider_id, "canceled": False, **times}
        return web.json_response(answer, status=201)

    def refuse_as(self, status: int, code: str, text: str) -> web.Response:
        """Refuse a request with a code of Sinch's."""
        return self.refuse(status, f"{code}: {text}", body={"code": code, "text": text})

    def error(self, status: int, reason: str) -> object:
        code = "syntax_constraint_violation" if status == 400 else str(status)
        return {"code": code, "text": reason}

    def event(self, kind: str, taken: TakenMessage) -> Event:
        name, _, detail = kind.partition(":")
        number = taken.message["to"][0].removeprefix("+")
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.000Z"
        if name == "inbound":
            return {
                "type": "mo_text",
                "id": secrets.token_hex(12),
                "from": number,
                "to": "447700900999",
                "body": detail,
                "received_at": now,
                "operator_id": "23410",
                # Sinch adds it to the answer to a message where the account is set up so.
                "client_reference": taken.id,
            }
        return {
            "type": "recipient_delivery_report_sms",
            "at": now,
            "batch_id": taken.provider_id,
            "client_reference": taken.id,
            "code": int(detail or _CODES[name]),
            "operator_status_at": now,
            "recipient": number,
            "status": name,
        }

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:  # noqa: ARG002  each body holds one
        return [msgspec.json.encode(event) for event in events]

    def tries_again(self, status: int) -> bool:
        """Return True for 429 and 5xx, and where there was no answer."""
        return status in {0, 429} or status >= 500

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        nonce, at = secrets.token_hex(13).upper(), str(int(request.received_at))
        secret = "not the service plan's" if forged else self.webhook_secret
        content = request.body + f".{nonce}.{at}".encode()
        signature = hmac.new(secret.encode(), content, hashlib.sha256).digest()
        # Sinch adds -Algorithm, which the signature does not cover and no reader needs.
        headers = {"": b64encode(signature).decode(), "-Nonce": nonce, "-Timestamp": at}
        return with_headers(
            request, {f"X-Sinch-Webhook-Signature{name}": value for name, value in headers.items()}
        )

    async def _report_on(self, taken: TakenMessage, automatic: AutomaticReports) -> None:
        to = taken.message.get("callback_url", "")
        for kind in automatic.kinds:
            event = self.event(kind, taken)
            await self.report([event], to=to, delay=automatic.delay, tries=len(self.retry_pauses))
