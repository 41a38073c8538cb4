"""The emulated Infobip: its APIs of messages, and its webhooks."""

import secrets
import ssl
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from aiohttp import web

from gatepost.model import Secret, Status, WebhookRequest
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import AutomaticReports, Event, TakenMessage
from gatepost.testing.webhook_requests import replace_request, with_headers
from gatepost.wire import basic_auth
from gatepost_infobip.testing.codes import ERRORS, GROUPS, STATUSES, error_group
from gatepost_infobip.testing.requests import BODIES

_SECONDS = {"SECONDS": 1.0, "MINUTES": 60.0, "HOURS": 3600.0}
_MAX_VALIDITY = 48 * 3600.0
_EXCEPTIONS = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    429: "TOO_MANY_REQUESTS",
}
_SENT, _DONE = "2026-11-27T16:00:00.000+0000", "2026-11-27T16:00:01.500+0000"


class InfobipEmulator(Emulator):
    """Infobip's SMS, Viber and WhatsApp APIs; the reports and the templates that a ping reads; delivery and seen reports.

    Kinds of reports: ``SEEN``, or a status's name, with the id of an error as in ``"REJECTED_NETWORK:603"``. As at
    Infobip, they go to the address in the message; to ``webhook_url``, like those of a subscription, if it has none.
    """

    # 1 minute + 1 minute * the square of the retry's number.
    retry_pauses = tuple(60.0 * (1 + number**2) for number in range(20))

    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.LIFETIME,
            MessageFeature.TAGS,
            MessageFeature.WEBHOOK_URL,
            MessageFeature.CONNECTIONS,
        }
    )
    report_features = frozenset({ReportFeature.BATCHED})
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "PENDING_ENROUTE": [Status.ACCEPTED],
        "DELIVERED_TO_OPERATOR": [Status.ACCEPTED],
        "DELIVERED_TO_HANDSET": [Status.DELIVERED],
        "SEEN": [Status.OPENED],
        "UNDELIVERABLE_NOT_DELIVERED:27": [Status.FAILED],
        "EXPIRED_EXPIRED:4098": [Status.FAILED],
        "REJECTED_NETWORK": [Status.REJECTED],
        "REJECTED_DESTINATION_BLOCKLISTED:2052": [Status.UNSUBSCRIBED, Status.REJECTED],
    }
    verification_keys = frozenset({"webhook_token"})

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self.api_key = secrets.token_hex(24)
        self.webhook_token = secrets.token_urlsafe(24)
        self.webhook_password = secrets.token_urlsafe(24)
        self.subscribed = False
        """Whether reports have the user name and password of a subscription, in place of the token in the query."""
        self.verdict = "PENDING_ACCEPTED"
        """The name of the status in the answers to sends; one that is not pending means that nothing is taken."""
        self.templates = [{"name": "news", "language": "en_GB", "status": "APPROVED"}]
        """The templates of every WhatsApp sender."""
        self._message_ids: set[str] = set()

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's table that lead to this emulator."""
        return {"base_url": self.base_url, "api_key": self.api_key, "webhook_token": self.webhook_token}

    @property
    def subscription_table(self) -> Mapping[str, Any]:
        """The same for an instance that hears of its messages by a subscription; set ``subscribed`` too."""
        login = {"username": "infobip", "password": self.webhook_password}
        return {"base_url": self.base_url, "api_key": self.api_key, "webhook_basic": login}

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        (message,) = taken.message["messages"]
        options, webhooks = message.get("options", {}), message.get("webhooks", {})
        validity = options.get("validityPeriod")
        destination = message["destinations"][0] if "destinations" in message else message
        url = message.get("notifyUrl") or webhooks.get("delivery", {}).get("url", "")
        seconds = validity and validity["amount"] * _SECONDS[validity.get("timeUnit", "MINUTES")]
        campaign = options.get("campaignReferenceId", "")
        return ReceivedMessage(
            id=taken.id,
            recipients=[f"+{destination['to']}"],
            sender=message.get("sender") or message.get("from", ""),
            text=_text(message["content"]),
            lifetime=seconds and min(seconds, _MAX_VALIDITY),
            webhook_url=_with_token(url, None) if url else "",
            tags=campaign.split(":") if campaign else (),
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("Authorization") != f"App {self.api_key}":
            return self.refuse(401, "Invalid login details")
        match request.method, request.path.split("/")[1:]:
            case "POST", _ if request.path in BODIES:
                return await self._send(request, body)
            case "GET", ["sms", "3", "reports"] | ["viber", "2", "reports"]:
                if request.query.get("limit", "50") not in map(str, range(1, 1001)):
                    return self.refuse(400, "limit")
                return web.json_response({"results": []})
            case "GET", ["whatsapp", "2", "senders", str(sender), "templates"] if sender.isdigit():
                return web.json_response({"templates": self.templates})
        return self.refuse(404, "Resource not found")

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.content_type != "application/json":
            return self.refuse(415, "Unsupported media type")
        try:
            message = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            return self.refuse(400, "The body is not JSON")
        if found := list(BODIES[request.path](message, "")):
            return self._refuse_fields(found)
        if len(message["messages"]) != 1 or len(message["messages"][0].get("destinations", [0])) != 1:
            return self.refuse(400, "this emulator takes one message in a request")
        (one,) = message["messages"]
        destination = one["destinations"][0] if "destinations" in one else one
        message_id = destination.get("messageId") or str(uuid.uuid4())
        name = "REJECTED_DUPLICATE_MESSAGE_ID" if message_id in self._message_ids else self.verdict
        if STATUSES[name][0] == 1:
            self._message_ids.add(message_id)
            callback_data = one.get("callbackData") or one.get("webhooks", {}).get("callbackData", "")
            await self.take(
                TakenMessage(
                    id=callback_data, provider_id=message_id, message=message, headers=request.headers
                )
            )
        answer = {"messageId": message_id, "status": _status(name, destination["to"])}
        if request.path.startswith("/whatsapp"):
            answer |= {"to": destination["to"], "messageCount": 1}
        else:
            counts = message.get("options", {}).get("includeSmsCountInResponse")
            answer |= {"destination": destination["to"], "details": {"messageCount": 1} if counts else {}}
        return web.json_response({"bulkId": uuid.uuid4().hex, "messages": [answer]})

    def _refuse_fields(self, found: Sequence[tuple[str, str]]) -> web.Response:
        body: Any = self.error(400, "Request cannot be processed.")
        if "requestError" in body:
            wrong: dict[str, list[str]] = {}
            for path, problem in found:
                wrong.setdefault(path, []).append(problem)
            body["requestError"]["serviceException"]["validationErrors"] = wrong
        else:
            body["violations"] = [{"property": path, "violation": problem} for path, problem in found]
        return self.refuse(400, " ".join(path for path, _ in found), body=body)

    def error(self, status: int, reason: str) -> object:
        """Return an error in the form of the API that was called last."""
        if self.requests and self.requests[-1][1].startswith("/whatsapp"):
            exception = {"messageId": _EXCEPTIONS.get(status, "GENERAL_ERROR"), "text": reason}
            return {"requestError": {"serviceException": exception}}
        return {
            "errorCode": f"E{status}",
            "description": reason,
            "action": "Check the documentation.",
            "violations": [],
            "resources": [],
        }

    def event(self, kind: str, taken: TakenMessage) -> Event:
        (message,) = taken.message["messages"]
        to = message["destinations"][0]["to"] if "destinations" in message else message["to"]
        sender = message.get("sender") or message.get("from")
        if kind == "SEEN":
            return {
                "messageId": taken.provider_id,
                "from": to,
                "to": sender,
                "sentAt": _SENT,
                "seenAt": _DONE,
            }
        name, _, error = kind.partition(":")
        event = {
            "bulkId": uuid.uuid4().hex,
            "messageId": taken.provider_id,
            "to": to,
            "sentAt": _SENT,
            "doneAt": _DONE,
            "messageCount": 1,
            "price": {"pricePerMessage": 0.01, "currency": "EUR"},
            "status": _status(name, to),
            "error": _error(int(error or 0), to),
        }
        if "destinations" in message:
            # WhatsApp's reports have neither.
            event |= {"sender": sender, "mccMnc": "23410", "callbackData": taken.id}
        return event

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:
        """Return up to 2,000 reports in a request, the most that a subscription at Infobip can ask for."""
        size = batch or 2000
        chunks = [events[start : start + size] for start in range(0, len(events), size)]
        return [msgspec.json.encode({"results": chunk}) for chunk in chunks or [[]]]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        if self.subscribed:
            password = "another's" if forged else self.webhook_password
            return with_headers(request, basic_auth("infobip", Secret(password)))
        token = "another's" if forged else self.webhook_token
        return replace_request(request, url=_with_token(request.url, token))

    async def _report_on(self, taken: TakenMessage, automatic: AutomaticReports) -> None:
        (message,) = taken.message["messages"]
        webhooks = message.get("webhooks", {})
        for kind in automatic.kinds:
            own = webhooks.get("seen" if kind == "SEEN" else "delivery", {}).get("url", "")
            to = own or message.get("notifyUrl", "")
            await self.report(
                [self.event(kind, taken)], to=to, delay=automatic.delay, tries=len(self.retry_pauses)
            )


def _text(content: Mapping[str, Any]) -> str:
    if "text" in content:
        return str(content["text"])
    return "\n".join(content["templateData"]["body"]["placeholders"])


def _status(name: str, to: str) -> dict[str, Any]:
    group, number = STATUSES[name]
    return {
        "groupId": group,
        "groupName": GROUPS[group],
        "id": number,
        "name": name,
        # It quotes the number, as Infobip's may do.
        "description": f"Message to {to}",
        "action": f"Contact support about {to}",
    }


def _error(number: int, to: str) -> dict[str, Any]:
    name, permanent = ERRORS[number]
    group, group_name = error_group(number)
    return {
        "groupId": group,
        "groupName": group_name,
        "id": number,
        "name": name,
        "description": f"about {to}",
        "permanent": permanent,
    }


def _with_token(url: str, token: str | None) -> str:
    """Return the URL with this token in its query, in place of any other; None: without one."""
    parts = urlsplit(url)
    pairs = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "token"]
    return urlunsplit(parts._replace(query=urlencode([*pairs, *([("token", token)] if token else [])])))
