"""46elks' SMS API and its delivery reports, both forms. Made from the vendor's documentation."""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from gatepost import wire
from gatepost.model import Secret, Status, WebhookRequest
from gatepost.testing.emulator import raw_request
from gatepost.testing.features import MessageFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost.testing.webhook_requests import with_headers
from gatepost_http.testing.described import DescribedProvider, with_parameter, without_parameter

_USER = "u5a9566c072160b318445d163949bf505"
_FORM = "application/x-www-form-urlencoded"
_RULES = {
    "from": r"\+[1-9][0-9]{6,14}|[A-Za-z][A-Za-z0-9]{0,10}",
    "to": r"\+[1-9][0-9]{6,14}",
    "message": r"(?s).+",
    "whendelivered": r"https?://\S+",
}


class ElksEmulator(DescribedProvider):
    """46elks. Kinds of reports: sent, delivered, failed."""

    message_features = frozenset(
        {MessageFeature.SENDER, MessageFeature.WEBHOOK_URL, MessageFeature.CONNECTIONS}
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "sent": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "failed": [Status.FAILED],
    }
    verification_keys = frozenset({"webhook_token"})

    @property
    def environment(self) -> Mapping[str, str]:
        return {"ELKS_PASSWORD": "emulated-elks-password", "ELKS_WEBHOOK_TOKEN": "emulated-elks-token"}

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        form = taken.message
        return ReceivedMessage(
            id=taken.id,
            recipients=[form["to"]],
            sender=form["from"],
            text=form["message"],
            webhook_url=without_parameter(form.get("whendelivered", ""), "token"),
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        expected = wire.basic_auth(_USER, Secret(self.environment["ELKS_PASSWORD"]))["Authorization"]
        if request.headers.get("Authorization") != expected:
            return self.refuse(401, "API access requires Basic HTTP authentication")
        match request.method, request.path:
            case "GET", "/a1/subaccounts":
                return web.json_response({"data": []})
            case "POST", "/a1/sms":
                return await self._send(request, body)
        return self.refuse(404, "no such URL")

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True)
        form = dict(pairs)
        wrong = [name for name, value in pairs if name not in _RULES or not re.fullmatch(_RULES[name], value)]
        wrong += sorted({"from", "to", "message"} - form.keys())
        if request.content_type != _FORM or len(form) != len(pairs) or wrong:
            return self.refuse(400, f"wrong or missing: {', '.join(wrong)}")
        if len(form["message"]) > 2000:
            return self.refuse(400, "the message is too long")
        own = dict(parse_qsl(form.get("whendelivered", "").partition("?")[2]))
        provider_id = f"s{uuid.uuid4().hex}"
        await self.take(
            TakenMessage(
                id=own.get("message", ""), provider_id=provider_id, message=form, headers=request.headers
            )
        )
        answer = {"id": provider_id, "direction": "outgoing", "status": "created", "cost": 3500}
        return web.json_response(
            {**answer, "from": form["from"], "to": form["to"], "message": form["message"]}
        )

    def error(self, status: int, reason: str) -> object:  # noqa: ARG002  the vendor's errors are texts
        return reason

    def event(self, kind: str, taken: TakenMessage) -> Event:
        done = {"delivered": "2026-11-09T16:00:00.000000"} if kind == "delivered" else {}
        return {"id": taken.provider_id, "status": kind, **done}

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:  # noqa: ARG002  each body holds one event
        return [urlencode(event).encode() for event in events]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        token = "forged" if forged else self.environment["ELKS_WEBHOOK_TOKEN"]
        return with_headers(with_parameter(request, "token", token), {"Content-Type": _FORM})
