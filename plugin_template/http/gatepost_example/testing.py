"""An emulator of Example: a real HTTP server on this machine, as strict as the API.

The tests use it.
"""

import hashlib  # <send>
import hmac  # <send>
import secrets  # <send>
from collections.abc import (
    Mapping,
    Sequence,  # <send>
)
from typing import (
    Any,
    ClassVar,  # <send>
)

import msgspec  # <send>
from aiohttp import web
from gatepost.model import (
    Contact,  # <contacts>
    Status,  # <send>
    WebhookRequest,  # <send>
)
from gatepost.testing.emulator import (
    Emulator,
    raw_request,  # <send>
)
from gatepost.testing.features import (
    ContactFeature,  # <contacts>
    MessageFeature,  # <send>
    ReportFeature,  # <send>
)
from gatepost.testing.received import ReceivedMessage  # <send>
from gatepost.testing.report_sender import Event, TakenMessage  # <send>
from gatepost.testing.webhook_requests import with_headers  # <send>

# <send>
_REQUIRED_FIELDS = {
    # <email>
    "email": {"reference", "to", "from", "from_name", "subject", "html", "text", "expires_in"},
    # </email>
    # <sms>
    "sms": {"reference", "to", "from", "text", "expires_in"},
    # </sms>
}
# </send>


class ExampleEmulator(Emulator):
    """Example's API."""

    # <contacts>
    contact_features = frozenset(ContactFeature)
    # </contacts>
    # <send>
    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.REPLY_TO,  # <email>
            MessageFeature.HEADERS,  # <email>
            MessageFeature.LIFETIME,
            MessageFeature.WEBHOOK_URL,
            MessageFeature.IDEMPOTENCY_KEY,
            MessageFeature.CONNECTIONS,
        }
    )
    report_features = frozenset(
        {
            ReportFeature.BODY_SIGNED,
            ReportFeature.IDS_SIGNED,
            ReportFeature.TIME_SIGNED,
            ReportFeature.BATCHED,
        }
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "sent": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "failed": [Status.FAILED],
        "blocked": [Status.REJECTED],
        # <email>
        "opened": [Status.OPENED],
        "complained": [Status.COMPLAINED],
        # </email>
        "unsubscribed": [Status.UNSUBSCRIBED],
        "priced": [],
    }
    verification_keys = frozenset({"webhook_secret"})
    # </send>

    def __init__(self) -> None:
        super().__init__()
        self.api_key = "an-emulated-key-0815"
        # <send>
        self.webhook_secret = "an-emulated-webhook-secret-4711"
        # </send>
        # <contacts>
        self.users: dict[str, Mapping[str, Any]] = {}
        # </contacts>

    @property
    def table(self) -> Mapping[str, str]:
        """The keys of the plugin's table that lead to this emulator."""
        return {
            "api_key": self.api_key,
            "base_url": self.base_url,
            # <send>
            "webhook_secret": self.webhook_secret,
            # </send>
        }

    # <contacts>
    def load_contacts(self, contacts: Mapping[str, Contact]) -> None:
        """Hold these users, by ext_user_id."""
        for name, contact in contacts.items():
            self.users[name] = {
                "id": name,
                "email": contact.email.reveal() if contact.email else None,
                "phone": contact.phone.reveal() if contact.phone else None,
                "blocked": contact.blocked,
            }

    # </contacts>
    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        """Check the key, then answer as the API does."""
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self.refuse(401, "wrong_key")
        match request.method, request.path:
            case "GET", "/v1/account":
                return web.json_response({"active": True})
            # <contacts>
            case "GET", "/v1/users":
                user = self.users.get(request.query.get("id", ""))
                return web.json_response(user) if user else self.refuse(404, "no_such_user")
            # </contacts>
            # <send>
            case "POST", "/v1/messages":
                return await self._send(request, body)
            # </send>
        return self.refuse(404, "no_such_resource")

    def error(self, status: int, reason: str) -> object:
        """Return the body of an error."""
        code = reason if reason.replace("_", "").isalpha() else "failed"
        return {
            "error": {"code": code, "message": f"{status}: {reason}, a free text that must not be stored"}
        }

    # <send>
    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        try:
            message = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            return self.refuse(400, "not_json")
        required = _REQUIRED_FIELDS.get(message.get("channel", ""))
        if required is None or required - message.keys():
            return self.refuse(400, "fields_missing")
        provider_id = secrets.token_hex(8)
        taken = TakenMessage(
            id=message["reference"], provider_id=provider_id, message=message, headers=request.headers
        )
        await self.take(taken)
        return web.json_response({"id": provider_id}, status=202)

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        """Return a message in the words of the plugin contract."""
        message = taken.message
        return ReceivedMessage(
            id=taken.id,
            recipients=[message["to"]],
            sender=message["from"],
            # <email>
            sender_name=message.get("from_name", ""),
            reply_to=message.get("reply_to", ""),
            subject=message.get("subject", ""),
            html=message.get("html", ""),
            headers=message.get("headers", {}),
            # </email>
            text=message["text"],
            lifetime=message["expires_in"],
            webhook_url=message.get("report_to", ""),
            idempotency_key=taken.headers.get("Idempotency-Key", ""),
            raw=raw_request(taken),
        )

    def event(self, kind: str, taken: TakenMessage) -> Event:
        """Return one report."""
        to = taken.message["to"]
        return {
            "event": kind,
            "id": taken.provider_id,
            "reference": taken.id,
            "code": "no_such_recipient" if kind == "failed" else "",
            "detail": f"free text that quotes {to}",
        }

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:
        """Return the bodies of the requests with these reports."""
        size = batch or max(1, len(events))
        return [msgspec.json.encode({"events": events[at : at + size]}) for at in range(0, len(events), size)]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        """Return the request with its signature."""
        secret = "another secret" if forged else self.webhook_secret
        at = int(request.received_at)
        digest = hmac.digest(secret.encode(), b"%d." % at + request.body, hashlib.sha256)
        signature = f"t={at},v1={digest.hex()}"
        return with_headers(request, {"Example-Signature": signature})

    # </send>
