"""Infobip's SMS API, version 3: its messages, its logs (which a ping reads) and its delivery reports.

Made from the models of the vendor's own client libraries and from its API reference.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from gatepost.model import Status, WebhookRequest
from gatepost.testing.emulator import raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost_http.testing.described import DescribedProvider, decode, with_parameter, without_parameter

_PENDING = {"groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED"}
_GROUPS: Mapping[str, Mapping[str, Any]] = {
    "PENDING": {"groupId": 1, "id": 7, "name": "PENDING_ENROUTE"},
    "UNDELIVERABLE": {"groupId": 2, "id": 9, "name": "UNDELIVERABLE_NOT_DELIVERED"},
    "DELIVERED": {"groupId": 3, "id": 5, "name": "DELIVERED_TO_HANDSET"},
    "EXPIRED": {"groupId": 4, "id": 15, "name": "EXPIRED_EXPIRED"},
    "REJECTED": {"groupId": 5, "id": 12, "name": "REJECTED_NOT_ENOUGH_CREDITS"},
}
_SECONDS = {"SECONDS": 1, "MINUTES": 60, "HOURS": 3600}


class _Destination(msgspec.Struct, forbid_unknown_fields=True):
    to: Annotated[str, Meta(pattern=r"\A[1-9][0-9]{6,14}\Z")]
    messageId: str = ""  # noqa: N815  the vendor's names


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    text: Annotated[str, Meta(min_length=1)]


class _Validity(msgspec.Struct, forbid_unknown_fields=True):
    amount: Annotated[int, Meta(ge=1)]
    timeUnit: Literal["SECONDS", "MINUTES", "HOURS"] = "MINUTES"  # noqa: N815


class _Options(msgspec.Struct, forbid_unknown_fields=True):
    validityPeriod: _Validity | None = None  # noqa: N815


class _Delivery(msgspec.Struct, forbid_unknown_fields=True):
    url: Annotated[str, Meta(pattern=r"\Ahttps?://")]


class _Webhooks(msgspec.Struct, forbid_unknown_fields=True):
    delivery: _Delivery | None = None
    contentType: Literal["application/json", "application/xml"] = "application/json"  # noqa: N815
    callbackData: Annotated[str, Meta(max_length=4000)] = ""  # noqa: N815


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    destinations: Annotated[list[_Destination], Meta(min_length=1)]
    content: _Content
    sender: str = ""
    options: _Options | None = None
    webhooks: _Webhooks | None = None


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    messages: Annotated[list[_Message], Meta(min_length=1, max_length=1)]


class InfobipEmulator(DescribedProvider):
    """Infobip. Kinds of reports: the names of its groups of statuses."""

    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.LIFETIME,
            MessageFeature.WEBHOOK_URL,
            MessageFeature.CONNECTIONS,
        }
    )
    report_features = frozenset({ReportFeature.BATCHED})
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "PENDING": [Status.ACCEPTED],
        "DELIVERED": [Status.DELIVERED],
        "UNDELIVERABLE": [Status.FAILED],
        "EXPIRED": [Status.FAILED],
        "REJECTED": [Status.REJECTED],
    }
    verification_keys = frozenset({"webhook_token"})

    rejects: str = ""
    """The name of the status with which messages are refused in an answer 200; empty: they are taken."""

    @property
    def environment(self) -> Mapping[str, str]:
        return {"INFOBIP_API_KEY": "emulated-infobip-key", "INFOBIP_WEBHOOK_TOKEN": "emulated-infobip-token"}

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        (message,) = taken.message["messages"]
        webhooks = message.get("webhooks", {})
        validity = message.get("options", {}).get("validityPeriod")
        return ReceivedMessage(
            id=taken.id,
            recipients=[f"+{destination['to']}" for destination in message["destinations"]],
            sender=message.get("sender", ""),
            text=message["content"]["text"],
            lifetime=validity and float(validity["amount"] * _SECONDS[validity.get("timeUnit", "MINUTES")]),
            webhook_url=without_parameter(webhooks.get("delivery", {}).get("url", ""), "token"),
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("Authorization") != f"App {self.environment['INFOBIP_API_KEY']}":
            return self.refuse(401, "invalid login details")
        match request.method, request.path:
            case "GET", "/sms/3/logs":
                return web.json_response({"results": []})
            case "POST", "/sms/3/messages":
                return await self._send(request, body)
        return self.refuse(404, "there is no such resource")

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        decoded = decode(body, _Request)
        if isinstance(decoded, str):
            return self.refuse(400, decoded)
        (message,) = decoded.messages
        if len(message.content.text) > 2000:
            return self.refuse(400, "the text is too long")
        provider_id = message.destinations[0].messageId or uuid.uuid4().hex
        status = {**_PENDING, "description": f"to {message.destinations[0].to}"}
        if self.rejects:
            status |= {"groupId": 5, "groupName": "REJECTED", "id": 51, "name": self.rejects}
        else:
            await self.take(
                TakenMessage(
                    id=message.webhooks.callbackData if message.webhooks else "",
                    provider_id=provider_id,
                    message=msgspec.json.decode(body),
                    headers=request.headers,
                )
            )
        answer = {"messageId": provider_id, "status": status, "destination": message.destinations[0].to}
        return web.json_response({"messages": [{**answer, "details": {"messageCount": 1}}]})

    def error(self, status: int, reason: str) -> object:
        return {
            "errorCode": f"E{status}",
            "description": reason,
            "action": "See the documentation.",
            "violations": [],
            "resources": [],
        }

    def event(self, kind: str, taken: TakenMessage) -> Event:
        failed = kind not in {"PENDING", "DELIVERED"}
        to = taken.message["messages"][0]["destinations"][0]["to"]
        return {
            "bulkId": "BULK-1",
            "messageId": taken.provider_id,
            "to": to,
            "sentAt": "2026-11-09T16:00:00.000+0000",
            "doneAt": "2026-11-09T16:00:01.000+0000",
            "messageCount": 1,
            "callbackData": taken.id,
            "price": {"pricePerMessage": 0.01, "currency": "EUR"},
            "status": {**_GROUPS[kind], "groupName": kind, "description": f"{kind}: {to}"},
            "error": {
                "groupId": int(failed),
                "groupName": "HANDSET_ERRORS" if failed else "OK",
                "id": int(failed),
                "name": "EC_ABSENT_SUBSCRIBER" if failed else "NO_ERROR",
                "description": f"about {to}",
                "permanent": failed,
            },
        }

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:
        size = batch or max(1, len(events))
        chunks = [events[start : start + size] for start in range(0, len(events), size)]
        return [msgspec.json.encode({"results": list(chunk)}) for chunk in chunks]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        token = "forged" if forged else self.environment["INFOBIP_WEBHOOK_TOKEN"]
        return with_parameter(request, "token", token)
