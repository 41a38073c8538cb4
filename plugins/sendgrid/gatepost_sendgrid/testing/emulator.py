"""An emulated SendGrid: as strict about a mail as the vendor, with really signed webhooks.

::

    async with SendGridEmulator() as sendgrid:
        settings = {
            "api_key": sendgrid.api_key,
            "base_url": sendgrid.base_url,
            "webhook_public_key": sendgrid.public_key,
        }
"""

import base64
import secrets
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost.model import Status, WebhookRequest
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost.testing.webhook_requests import with_headers
from gatepost_sendgrid.testing import mail_rules

MAX_BODY = 30 * 1024 * 1024
"""Bytes of the largest request that Mail Send accepts."""
MAX_WEBHOOK = 768 * 1024
"""Bytes at which a batch of events is full."""

_SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
_TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"

# The fields of each kind of event, beside those that all events have. The reasons quote the address, as the
# vendor's do. `blocked` is a special bounce, `machine_open` a special open. None removes a field.
_EVENT_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "processed": {"send_at": 0},
    "deferred": {"response": "451 4.7.1 <{email}> greylisted", "attempt": "2"},
    "delivered": {"response": "250 2.0.0 OK <{email}>", "ip": "192.0.2.1", "tls": 1},
    "bounce": {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 <{email}>: no such mailbox"},
    "blocked": {"event": "bounce", "type": "blocked", "reason": "421 4.7.0 mail to {email} is not wanted"},
    "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
    "open": {"ip": "192.0.2.2", "useragent": "Mozilla/5.0", "sg_machine_open": False},
    "machine_open": {"event": "open", "ip": "192.0.2.3", "sg_machine_open": True},
    "click": {"ip": "192.0.2.2", "url": "https://example.com/?to={email}", "url_offset": {"index": 0}},
    "spamreport": {},
    "unsubscribe": {"sg_event_id": None},
    "group_unsubscribe": {"asm_group_id": 7, "ip": "192.0.2.2", "url": "https://example.com/"},
    "group_resubscribe": {"asm_group_id": 7, "ip": "192.0.2.2", "url": "https://example.com/"},
}


class SendGridEmulator(Emulator):
    """SendGrid's v3 Mail Send, the scopes of its key, and its signed Event Webhook."""

    # The vendor documents only the end of the tries, after 24 hours.
    retry_pauses = (60.0, 300.0, 1800.0, 7200.0)

    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.REPLY_TO,
            MessageFeature.HEADERS,
            MessageFeature.TAGS,
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
        "processed": [Status.ACCEPTED],
        "deferred": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "bounce": [Status.FAILED],
        "blocked": [Status.FAILED],
        "dropped": [Status.REJECTED],
        "open": [Status.OPENED],
        "machine_open": [],
        "click": [],
        "spamreport": [Status.COMPLAINED],
        "unsubscribe": [Status.UNSUBSCRIBED],
        "group_unsubscribe": [Status.UNSUBSCRIBED],
        "group_resubscribe": [],
    }
    verification_keys = frozenset({"webhook_public_key"})

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self.api_key = "SG.emulated"
        self.scopes = ["mail.send"]
        """What the key is allowed to do."""
        self.senders: frozenset[str] | None = None
        """The verified sender addresses; None: every address is verified."""
        self.validated: list[Any] = []
        """Mails that were checked in sandbox mode and not sent."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._other_key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> str:
        """The verification key as SendGrid shows it: base64 of DER."""
        der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    @property
    def table(self) -> Mapping[str, str]:
        """The keys of the plugin's table that lead to this emulator."""
        return {"api_key": self.api_key, "base_url": self.base_url, "webhook_public_key": self.public_key}

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        message = taken.message
        content = {part["type"]: part["value"] for part in message["content"]}
        return ReceivedMessage(
            id=taken.id,
            recipients=[
                one["email"]
                for addressed in message["personalizations"]
                for kind in ("to", "cc", "bcc")
                for one in addressed.get(kind, ())
            ],
            sender=message["from"]["email"],
            sender_name=message["from"].get("name", ""),
            reply_to=message.get("reply_to", {}).get("email", ""),
            subject=message.get("subject", ""),
            text=content.get("text/plain", ""),
            html=content.get("text/html", ""),
            tags=message.get("categories", ()),
            headers=message.get("headers", {}) | message["personalizations"][0].get("headers", {}),
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self.refuse(401, "the authorization grant is invalid")
        match request.method, request.path:
            case "GET", "/v3/scopes":
                return web.json_response({"scopes": self.scopes})
            case "POST", "/v3/mail/send" if "mail.send" not in self.scopes:
                return self.refuse(403, "access forbidden")
            case "POST", "/v3/mail/send":
                return await self._send(request, body)
            case _, "/v3/scopes" | "/v3/mail/send":
                return self.refuse(405, "method not allowed")
        return self.refuse(404, "no such endpoint")

    def error(self, status: int, reason: str) -> object:  # noqa: ARG002  SendGrid's errors hold no status
        return mail_rules.error_body([(None, reason)])

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.content_type != "application/json":
            return self.refuse(415, "Content-Type should be application/json.")
        if len(body) > MAX_BODY:
            return self.refuse(413, "the payload is too large")
        mail, errors = mail_rules.check(body)
        if mail is None or errors:
            reason = "; ".join(f"{field}: {problem}" for field, problem in errors)
            return self.refuse(400, reason, body=mail_rules.error_body(errors))
        message = msgspec.json.decode(body)
        if self.senders is not None and message["from"]["email"] not in self.senders:
            reason = "The from address does not match a verified Sender Identity."
            return self.refuse(403, reason, body=mail_rules.error_body([("from", reason)]))
        if mail.mail_settings.sandbox_mode and mail.mail_settings.sandbox_mode.enable:
            self.validated.append(message)
            return web.Response(status=200)
        return await self._accept(request, mail, message)

    async def _accept(self, request: web.BaseRequest, mail: mail_rules.Mail, message: Any) -> web.Response:
        provider_id = secrets.token_urlsafe(16)
        for personalization, decoded in zip(mail.personalizations, message["personalizations"], strict=True):
            await self.take(
                TakenMessage(
                    id=(mail.custom_args | personalization.custom_args).get("gp_id", ""),
                    provider_id=provider_id,
                    message={**message, "personalizations": [decoded]},
                    headers=request.headers,
                )
            )
        return web.Response(status=202, headers={"X-Message-Id": provider_id})

    def event(self, kind: str, taken: TakenMessage) -> Event:
        """Return an event of a kind in the vendor's table, or ``blocked`` or ``machine_open``."""
        message = taken.message
        email = _address(taken)
        categories = message.get("categories", [])
        common = {
            "email": email,
            "timestamp": int(time.time()),
            "smtp-id": f"<{secrets.token_hex(8)}@geopod-ismtpd-0>",
            "event": kind,
            "sg_event_id": secrets.token_urlsafe(16),
            "sg_message_id": f"{taken.provider_id}.recvd-{secrets.token_hex(5)}-1-{secrets.token_hex(4)}-6.0",
        }
        if categories:
            common["category"] = categories[0] if len(categories) == 1 else categories
        special = {
            name: value.replace("{email}", email) if isinstance(value, str) else value
            for name, value in _EVENT_FIELDS[kind].items()
        }
        arguments = message.get("custom_args", {}) | message["personalizations"][0].get("custom_args", {})
        event = arguments | common | special
        return {name: value for name, value in event.items() if value is not None}

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:
        """Return arrays of ``batch`` events, or of as many as fit, with line ends as the vendor's."""
        bodies: list[bytes] = []
        waiting: list[bytes] = []
        size = 0
        for event in events:
            encoded = msgspec.json.encode(event)
            if waiting and (len(waiting) == batch or size + len(encoded) > MAX_WEBHOOK - 64):
                bodies.append(_array(waiting))
                waiting, size = [], 0
            waiting.append(encoded)
            size += len(encoded) + 3
        return [*bodies, _array(waiting)]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        timestamp = str(int(request.received_at))
        key = self._other_key if forged else self._key
        signature = key.sign(timestamp.encode() + request.body, ec.ECDSA(hashes.SHA256()))
        return with_headers(
            request, {_TIMESTAMP: timestamp, _SIGNATURE: base64.b64encode(signature).decode()}
        )


def _address(taken: TakenMessage) -> str:
    """Return the address of the mail's one recipient."""
    return str(taken.message["personalizations"][0]["to"][0]["email"])


def _array(encoded: Sequence[bytes]) -> bytes:
    return b"[" + b",\r\n".join(encoded) + b"]\r\n"
