"""An aggregator that has only GET, and answers in texts: Gatepost's checks of every plugin."""

import uuid

from aiohttp import web

from gatepost.testing.emulator import raw_request
from gatepost.testing.features import MessageFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import TakenMessage
from gatepost.testing.suites import LifespanSuite, PingSuite, SmsSuite, WebhookSuite
from gatepost_http import Http
from gatepost_http.testing import AcmeEmulator

PASSWORD = "emulated-password"


class GetEmulator(AcmeEmulator):
    message_features = frozenset(
        {MessageFeature.SENDER, MessageFeature.WEBHOOK_URL, MessageFeature.CONNECTIONS}
    )

    @property
    def table(self):
        table = dict(super().table)
        for key in ("bearer", "longest_lifetime", "replay_safe"):
            del table[key]
        query = {
            "pass": "{secret.password}",
            "to": "{recipient_digits}",
            "from": "{sender}",
            "text": "{text}",
            "ref": "{id}",
            "dlr": "{callback_url}",
        }
        return {
            **table,
            "secrets": {"password": PASSWORD},
            "request": {"method": "GET", "path": "/send", "query": query},
            "answer": {
                "split": ":",
                "id": "/1",
                "errors": [{"at": "/0", "values": ["ERR"], "means": "rejected"}],
            },
            "ping": {"path": "/credit", "query": {"pass": "{secret.password}"}},
        }

    def is_send(self, method, path):
        return (method, path) == ("GET", "/send")

    async def answer_to(self, request, body):
        query = dict(request.query)
        if query.pop("pass", "") != PASSWORD:
            return self.refuse(401, "UNKNOWN_USER")
        if (request.method, request.path) == ("GET", "/credit"):
            return web.Response(text="17.20")
        if (request.method, request.path, body) != ("GET", "/send", b""):
            return self.refuse(404, "NO_SUCH_URL")
        if not query["to"].isdigit() or not {"from", "text", "ref"} <= query.keys():
            return self.refuse(400, "MALFORMED")
        message_id = uuid.uuid4().hex
        await self.take(
            TakenMessage(id=query["ref"], provider_id=message_id, message=query, headers=request.headers)
        )
        return web.Response(text=f"OK: {message_id}\r\n")

    def received(self, taken):
        query = taken.message
        return ReceivedMessage(
            id=taken.id,
            recipients=[f"+{query['to']}"],
            sender=query["from"],
            text=query["text"],
            webhook_url=query.get("dlr", ""),
            raw=raw_request(taken),
        )


class TestGet(LifespanSuite, PingSuite, WebhookSuite, SmsSuite):
    plugin, emulator = Http, GetEmulator
