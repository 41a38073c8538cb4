"""The emulated Mailgun."""

import hmac
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from gatepost.model import Secret, Status, WebhookRequest
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage, Tampering
from gatepost.testing.webhook_requests import replace_request
from gatepost.wire import basic_auth
from gatepost_mailgun.testing import events, form_rules

MAX_REQUEST = int(52.4 * 1024 * 1024)
"""Bytes of the largest request."""
SANDBOX = (
    "Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized "
    "recipients in Account Settings."
)


class MailgunEmulator(Emulator):
    """A Mailgun account with one sending domain: its Messages API and its signed webhooks."""

    # Of webhooks other than delivered, which is tried once.
    retry_pauses = (300.0, 600.0, 900.0, 3600.0, 7200.0, 14400.0)

    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.REPLY_TO,
            MessageFeature.HEADERS,
            MessageFeature.TAGS,
            MessageFeature.LIFETIME,
            MessageFeature.CONNECTIONS,
        }
    )
    # Neither the body nor its ids are signed.
    report_features: ClassVar[frozenset[ReportFeature]] = frozenset({ReportFeature.TIME_SIGNED})
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = events.MEANINGS
    verification_keys = frozenset({"webhook_signing_key"})

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self.api_key = f"{secrets.token_hex(16)}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"
        self.signing_key = secrets.token_hex(16)
        self.domain = "mg.brand.example"
        self.authorized: frozenset[str] | None = None
        """The recipients of a sandbox domain or of a free account; None: it is neither."""
        self.domain_error = ""
        """Why the domain is not allowed to send, in Mailgun's words; empty: it is."""
        self.limit = ""
        """What the domain has had too much of: request, recipient or bytes."""

    @property
    def table(self) -> Mapping[str, str]:
        return {
            "api_key": self.api_key,
            "domain": self.domain,
            "base_url": self.base_url,
            "webhook_signing_key": self.signing_key,
        }

    def is_send(self, method: str, path: str) -> bool:
        return method == "POST" and path.endswith("/messages")

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        form: form_rules.Form = taken.message
        ((sender_name, sender),) = form_rules.addresses(form_rules.value(form, "from"))
        reply_to = form_rules.addresses(form_rules.value(form, "h:Reply-To"))
        fields = [field for name, field in form if name in {"to", "cc", "bcc"}]
        return ReceivedMessage(
            id=taken.id,
            recipients=[address for field in fields for _, address in form_rules.addresses(field)],
            sender=sender,
            sender_name=sender_name,
            reply_to=reply_to[0][1] if reply_to else "",
            subject=form_rules.value(form, "subject"),
            text=form_rules.value(form, "text"),
            html=form_rules.value(form, "html"),
            lifetime=float(form_rules.seconds(form_rules.value(form, "o:deliver-within"))),
            tags=[text for name, text in form if name == "o:tag"],
            headers={name[2:]: text for name, text in form if name.startswith("h:") and name != "h:Reply-To"},
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        expected = basic_auth("api", Secret(self.api_key))["Authorization"]
        if request.headers.get("Authorization") != expected:
            return self.refuse(401, "Forbidden")
        match request.method, request.path.split("/")[1:]:
            case "POST", ["v3", self.domain, "messages"]:
                return await self._send(request, body)
            case "POST", ["v3", self.domain, "messages.mime"]:
                return self._mime(request, body)
            case "POST", ["v3", domain, "messages" | "messages.mime"]:
                return self.refuse(404, f"Domain not found: {domain}")
        return self.refuse(404, "not found")

    def error(self, status: int, reason: str) -> object:  # noqa: ARG002  an error of Mailgun's holds no status
        return {"message": reason}

    def _mime(self, request: web.BaseRequest, body: bytes) -> web.Response:
        """Refuse every form: no plugin sends finished mails, and an empty one is enough for a ping."""
        if request.content_type != "multipart/form-data":
            return self.refuse(400, "Invalid request content type. Expecting 'multipart/form-data'")
        name = "message" if b'name="to"' in body else "to"
        return self.refuse(400, f"{name} parameter is missing")

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if len(body) > MAX_REQUEST:
            return self.refuse(413, "request size exceeds 52.4MiB limit")
        if request.content_type not in form_rules.READERS:
            return self.refuse(400, "Invalid request content type")
        try:
            form = form_rules.READERS[request.content_type](body, request.headers["Content-Type"])
        except ValueError:
            return self.refuse(400, "unable to parse request")
        if refusal := next(self._refusals(form), None):
            return self.refuse(*refusal)
        message_id = f"{datetime.now(UTC):%Y%m%d%H%M%S}.{secrets.token_hex(8)}@{self.domain}"
        own_id = form_rules.value(form, "v:gp_id")
        await self.take(
            TakenMessage(id=own_id, provider_id=message_id, message=form, headers=request.headers)
        )
        return web.json_response({"id": f"<{message_id}>", "message": "Queued. Thank you."})

    def _refusals(self, form: form_rules.Form) -> Iterator[tuple[int, str]]:
        """Yield the statuses and texts for a form that is not taken; Mailgun answers with the first."""
        not_allowed = f"Domain {self.domain} is not allowed to send"
        for problem in form_rules.faults(form):
            yield 400, problem
        if self.domain_error:
            yield 400, f"{not_allowed}: {self.domain_error}"
        recipients = {address for _, address in form_rules.addresses(form_rules.value(form, "to"))}
        if self.authorized is not None and recipients - self.authorized:
            yield 400, f"{not_allowed}: {SANDBOX}"
        if self.limit:
            again = format_datetime(datetime.fromtimestamp(time.time() + 600, UTC)).replace("+0000", "UTC")
            yield 429, f"{not_allowed}: {self.limit} limit exceeded, try again after {again}"

    def event(self, kind: str, taken: TakenMessage) -> Event:
        """Return an event of a kind in the vendor's table; failures are named by severity or reason."""
        return events.event_data(kind, taken, self.domain)

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:  # noqa: ARG002  each body holds one event
        return [msgspec.json.encode({"event-data": event}) for event in events]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        """Return the request with a signature in its body, where the body is an object."""
        timestamp, token = str(int(request.received_at)), secrets.token_hex(25)
        key = "another account's key" if forged else self.signing_key
        signature = hmac.digest(key.encode(), f"{timestamp}{token}".encode(), "sha256").hex()
        try:
            body: Any = msgspec.json.decode(request.body)
        except (ValueError, RecursionError):
            return request
        if not isinstance(body, dict):
            return request
        signed = {"signature": {"timestamp": timestamp, "token": token, "signature": signature}, **body}
        signed["signature"] = {"timestamp": timestamp, "token": token, "signature": signature}
        return replace_request(request, body=msgspec.json.encode(signed))

    async def _deliver(
        self, url: str, body: bytes, at: float | None, tampering: Tampering, tries: int
    ) -> int:
        # Mailgun documents that it repeats no delivery notification.
        is_delivery = b'"event":"delivered"' in body
        return await super()._deliver(url, body, at, tampering, 1 if is_delivery else tries)

    def tries_again(self, status: int) -> bool:
        """Return True for every answer but a success and 406."""
        return not 200 <= status < 300 and status != 406
