"""An emulator of Example, a real HTTP server as strict as the API; and fixtures."""

import secrets  # <send>
import time  # <send>
from collections.abc import Sequence

import msgspec
import pytest
import structlog
from aiohttp import web

from gatepost.hookspecs import Context
from gatepost.model import (
    Email,  # <email>
    Mailbox,  # <email>
    Secret,
    Sms,  # <sms>
    WebhookRequest,  # <send>
)
from gatepost.testing.emulator import Emulator
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost_example import Example, Settings
from gatepost_example.reports import SIGNATURE_HEADER, signature  # <send>

# <send>
ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"

REQUIRED_FIELDS = {
    "email": {"reference", "to", "from", "subject", "html", "text", "expires_in"},
    "sms": {"reference", "to", "from", "text", "expires_in"},
}


# </send>
class ExampleEmulator(Emulator):
    retry_pauses = (60.0, 600.0, 3600.0)

    def __init__(self):
        super().__init__()
        self.api_key = "an-emulated-key-0815"
        # <send>
        self.webhook_secret = "an-emulated-webhook-secret-4711"
        # </send>
        # <contacts>
        self.users = {}
        # </contacts>

    async def answer_to(self, request, body):
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self.refuse(401, "wrong_key")
        match request.method, request.path:
            case "GET", "/v1/account":
                return web.json_response({"active": True})
            # <contacts>
            case "GET", "/v1/users":
                user = self.users.get(request.query.get("id"))
                return web.json_response(user) if user else self.refuse(404, "no_such_user")
            # </contacts>
            # <send>
            case "POST", "/v1/messages":
                return await self._send(request, body)
            # </send>
        return self.refuse(404, "no_such_resource")

    # <send>
    async def _send(self, request, body):
        try:
            message = msgspec.json.decode(body, type=dict)
        except msgspec.DecodeError:
            return self.refuse(400, "not_json")
        if REQUIRED_FIELDS.get(message.get("channel"), {""}) - message.keys():
            return self.refuse(400, "fields_missing")
        provider_id = secrets.token_hex(8)
        await self.take(
            TakenMessage(
                id=message["reference"], provider_id=provider_id, message=message, headers=request.headers
            )
        )
        return web.json_response({"id": provider_id}, status=202)

    # </send>

    def error(self, status, why):
        code = why if why.replace("_", "").isalpha() else "failed"
        return {"error": {"code": code, "message": f"{status}: free text that must not be stored"}}

    def event(self, kind: str, taken: TakenMessage) -> Event:
        to = taken.message["to"]
        return {
            "event": kind,
            "id": taken.provider_id,
            "reference": taken.id,
            "code": "no_such_recipient" if kind == "failed" else "",
            "detail": f"free text that quotes {to}",
        }

    def bodies(self, events: Sequence[Event], *, batch: int):
        batch = batch or max(1, len(events))
        return [
            msgspec.json.encode({"events": events[at : at + batch]}) for at in range(0, len(events), batch)
        ]

    def sign(self, body, at, *, forged):
        headers = {}
        # <send>
        secret = "another secret" if forged else self.webhook_secret
        headers[SIGNATURE_HEADER] = signature(secret, int(at), body)
        # </send>
        return headers


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def provider():
    async with ExampleEmulator() as emulator:
        yield emulator


@pytest.fixture
async def plugin(provider):
    """An instance that is inside its lifespan and sends to the emulator."""
    settings = Settings(
        api_key=Secret(provider.api_key),
        base_url=provider.base_url,
        # <send>
        webhook_secret=Secret(provider.webhook_secret),
        # </send>
    )
    instance = Example(settings, Context(name="test", log=structlog.get_logger()))
    async with instance.lifespan():
        yield instance


# <email>
@pytest.fixture
def email():
    return Email(
        id=ID,
        recipient=Secret("anna@people.invalid"),
        sender=Mailbox("news@amazing.invalid", "Amazing"),
        subject="Hello",
        html="<p>Hello</p>",
        text="Hello",
        lifetime=600.0,
    )


# </email>
# <sms>
@pytest.fixture
def sms():
    return Sms(id=ID, recipient=Secret("+447700900123"), sender="Amazing", text="Hello", lifetime=600.0)


# </sms>
# <send>
@pytest.fixture
def signed_report(provider):
    """Create a correctly signed request with these events."""

    def create(*events):
        (body,) = provider.bodies(events, batch=0)
        headers = provider.sign(body, time.time(), forged=False)
        return WebhookRequest(
            method="POST",
            url="https://gateway.invalid/webhooks/test",
            headers={name.lower(): value for name, value in headers.items()},
            body=body,
            received_at=time.time(),
        )

    return create


# </send>
