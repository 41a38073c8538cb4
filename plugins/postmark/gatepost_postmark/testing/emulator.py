"""The emulated Postmark."""

import ssl
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from gatepost.model import Secret, Status, WebhookRequest
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost.testing.webhook_requests import with_headers
from gatepost.wire import basic_auth
from gatepost_postmark.testing import mail_rules, webhook_bodies

MAX_REQUEST = 10 * 1024 * 1024
"""Bytes of the largest request with one mail."""
TEST_TOKEN = "POSTMARK_API_TEST"  # noqa: S105  no secret: Postmark documents it


class PostmarkEmulator(Emulator):
    """A Postmark server: its Email API, its message streams with their suppressions, and its webhooks."""

    # Of webhooks about mails that were sent; after the sixth the event is dropped.
    retry_pauses = (60.0, 300.0, 600.0, 600.0, 600.0, 900.0)

    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.REPLY_TO,
            MessageFeature.HEADERS,
            MessageFeature.TAGS,
            MessageFeature.CONNECTIONS,
        }
    )
    # None: a user name and a password sign nothing.
    report_features: ClassVar[frozenset[ReportFeature]] = frozenset()
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = webhook_bodies.MEANINGS
    verification_keys = frozenset({"webhook_basic"})

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self.server_token = str(uuid.uuid4())
        self.username = "postmark"
        self.password = uuid.uuid4().hex
        self.streams = {"outbound": "Transactional", "broadcast": "Broadcasts", "inbound": "Inbound"}
        """The server's message streams, and the type of each."""
        self.archived: set[str] = set()
        """The message streams that are archived."""
        self.suppressions: dict[tuple[str, str], tuple[str, str]] = {}
        """Stream and address, and the reason and origin of the suppression."""
        self.senders: frozenset[str] | None = None
        """The confirmed sender addresses; None: every address is confirmed."""
        self.unconfirmed: frozenset[str] = frozenset()
        """Sender addresses whose signature waits for its confirmation."""
        self.account_error: tuple[int, str] | None = None
        """The ErrorCode and text for every mail: 405 no credits, 413 not approved, 422 invalid server."""
        self.pending = False
        """Whether the account is pending approval: then mail goes only to the sender's own domain."""
        self.validated: list[Any] = []
        """Mails that were checked with the token for tests and not sent."""

    @property
    def table(self) -> Mapping[str, Any]:
        return {
            "server_token": self.server_token,
            "base_url": self.base_url,
            "webhook_basic": {"username": self.username, "password": self.password},
        }

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        mail = msgspec.convert(taken.message, mail_rules.Mail)
        ((sender_name, sender),) = mail_rules.addresses(mail.from_)
        recipients = [one for field in (mail.to, mail.cc, mail.bcc) for one in mail_rules.addresses(field)]
        return ReceivedMessage(
            id=taken.id,
            recipients=[address for _, address in recipients],
            sender=sender,
            sender_name=sender_name,
            reply_to=next((address for _, address in mail_rules.addresses(mail.reply_to)), ""),
            subject=mail.subject,
            text=mail.text_body,
            html=mail.html_body,
            tags=mail.tag.split(", "),
            headers={header.name: header.value for header in mail.headers},
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        token = request.headers.get("X-Postmark-Server-Token", "").lower()
        if token not in {self.server_token, TEST_TOKEN.lower()}:
            return self._refuse(10, "The Server Token you provided is not valid.", status=401)
        if request.headers.get("Accept") != "application/json":
            return self._refuse(409, "The Accept header must be application/json.", status=415)
        match request.method, request.path.split("/")[1:]:
            case "POST", ["email"]:
                return await self._send(request, body, is_test=token == TEST_TOKEN.lower())
            case "GET", ["message-streams", stream]:
                return self._stream(stream)
            case "GET", ["message-streams", stream, "suppressions", "dump"] if stream in self.streams:
                return self._suppressed(stream, request.query.get("EmailAddress", ""))
        return self._refuse(701, "There is no such resource.", status=404)

    def error(self, status: int, reason: str) -> object:
        number = {401: 10, 422: mail_rules.INVALID_MAIL, 500: 101, 503: 100}.get(status)
        return {"ErrorCode": number, "Message": reason} if number else {"Message": reason}

    def _refuse(self, number: int, reason: str, *, status: int = 422) -> web.Response:
        body = {"ErrorCode": number, "Message": reason}
        return self.refuse(status, reason, body=body, headers={"X-PM-ApiErrorCode": str(number)})

    def _stream(self, stream: str) -> web.Response:
        if stream not in self.streams:
            return self._refuse(1226, "The message stream for the provided 'ID' was not found.")
        archived_at = _now() if stream in self.archived else None
        return web.json_response(
            {
                "ID": stream,
                "ServerID": webhook_bodies.SERVER_ID,
                "Name": stream.title(),
                "Description": None,
                "MessageStreamType": self.streams[stream],
                "CreatedAt": _now(),
                "UpdatedAt": None,
                "ArchivedAt": archived_at,
                "ExpectedPurgeDate": archived_at,
                "SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "None"},
            }
        )

    def _suppressed(self, stream: str, address: str) -> web.Response:
        found = [
            {"EmailAddress": one, "SuppressionReason": reason, "Origin": origin, "CreatedAt": _now()}
            for (own_stream, one), (reason, origin) in self.suppressions.items()
            if own_stream == stream and address in {"", one}
        ]
        return web.json_response({"Suppressions": found})

    async def _send(self, request: web.BaseRequest, body: bytes, *, is_test: bool) -> web.Response:
        if request.content_type != "application/json":
            return self._refuse(409, "The Content-Type header must be application/json.", status=415)
        if len(body) > MAX_REQUEST:
            return self.refuse(413, "the request is too large")
        mail, number, problem = mail_rules.decode(body)
        if mail is None:
            return self._refuse(number, problem)
        if refusal := next(self._refusals(mail), None):
            return self._refuse(*refusal)
        message = mail_rules.fields(body)
        provider_id = str(uuid.uuid4())
        if is_test:
            self.validated.append(message)
        else:
            own_id = mail.metadata.get("gp_id", "")
            await self.take(
                TakenMessage(id=own_id, provider_id=provider_id, message=message, headers=request.headers)
            )
        return web.json_response(
            {"To": mail.to, "SubmittedAt": _now(), "MessageID": provider_id, "ErrorCode": 0, "Message": "OK"}
        )

    def _refusals(self, mail: mail_rules.Mail) -> Iterator[tuple[int, str]]:
        """Yield the ErrorCodes and the texts for a mail that is not taken; Postmark answers with the first."""
        if self.account_error:
            yield self.account_error
        for problem in mail_rules.faults(mail):
            yield mail_rules.INVALID_MAIL, problem
        if mail.message_stream not in self.streams or mail.message_stream in self.archived:
            yield 1235, "The 'MessageStream' provided does not exist on this server."
        elif self.streams[mail.message_stream] == "Inbound":
            yield 1236, "Sending is not supported on the supplied 'MessageStream'."
        sender = mail_rules.addresses(mail.from_)[0][1]
        if sender in self.unconfirmed:
            yield 401, f"The Sender Signature for {sender} is not confirmed."
        if self.senders is not None and sender not in self.senders:
            yield (
                400,
                f"The 'From' address you supplied ({sender}) is not a Sender Signature on your account.",
            )
        recipients = [address for _, address in mail_rules.addresses(mail.to)]
        if self.pending and any(_domain(one) != _domain(sender) for one in recipients):
            yield 412, f"While your account is pending approval, all recipients must be at {_domain(sender)}."
        inactive = [one for one in recipients if (mail.message_stream, one) in self.suppressions]
        if len(inactive) == len(recipients):
            yield 406, f"You tried to send to recipient(s) that are inactive. Found: {', '.join(inactive)}."

    def event(self, kind: str, taken: TakenMessage) -> Event:
        """Return the webhook of a kind in the vendor's table; a bounce is named by its type."""
        return webhook_bodies.webhook_body(kind, taken, _now())

    async def report_status(self, message_id: str, status: Status) -> None:
        if status is not Status.ACCEPTED:
            # Which the answer to the send says, and no webhook.
            await super().report_status(message_id, status)

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:  # noqa: ARG002  each body holds one event
        return [msgspec.json.encode(event) for event in events]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        password = "not the webhook's password" if forged else self.password
        return with_headers(request, basic_auth(self.username, Secret(password)))

    def tries_again(self, status: int) -> bool:
        """Return True for no answer, 408, 429 and 5xx; any other 4xx drops the event."""
        return status in {0, 408, 429} or status >= 500


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
