"""A plugin that fetches its reports: the kit's checks, and what is its API's own."""

import secrets
import sys
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent))

from fetching_sms import Fetching

from gatepost.model import Status, StatusEvent
from gatepost.testing import emulator
from gatepost.testing.conformance.running_plugin import wait_until
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import TakenMessage
from gatepost.testing.suites import LifespanSuite, SmsSuite


class FetchingEmulator(Emulator):
    message_features = frozenset({MessageFeature.SENDER, MessageFeature.CONNECTIONS})
    report_features = frozenset({ReportFeature.POLLED})
    meanings: ClassVar = {
        "SENT": [Status.ACCEPTED],
        "DONE": [Status.DELIVERED],
        "LOST": [Status.FAILED],
        "BILLED": [],
    }

    def __init__(self):
        super().__init__()
        self.api_key = secrets.token_hex(16)

    @property
    def table(self):
        return {
            "api_key": self.api_key,
            "base_url": self.base_url,
            "default_sender": "Amazing",
            "fetch_seconds": 0.02,
        }

    async def answer_to(self, request, body):
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self.refuse(401, "wrong key")
        match request.method, request.path:
            case "POST", "/messages":
                message = msgspec.json.decode(body, type=dict[str, str])
                number = secrets.token_hex(8)
                await self.take(
                    TakenMessage(
                        id=message["id"], provider_id=number, message=message, headers=request.headers
                    )
                )
                return web.json_response({"number": number})
            case "GET", "/reports":
                waiting = self.queued[int(request.query["after"]) :]
                return web.json_response({"reports": waiting, "last": len(self.queued)})
        return self.refuse(404, "no such resource")

    def error(self, status, reason):
        return {"text": f"{status}: {reason}"}

    def received(self, taken):
        message = taken.message
        return ReceivedMessage(
            id=taken.id,
            recipients=[message["to"]],
            sender=message["from"],
            text=message["text"],
            raw=raw_request(taken),
        )

    def event(self, kind, taken):
        return {
            "id": taken.id,
            "state": kind,
            "error": 27 if kind == "LOST" else 0,
            "to": taken.message["to"],
        }


class TestConformance(LifespanSuite, SmsSuite):
    plugin = Fetching
    emulator = FetchingEmulator


@pytest.fixture
async def provider():
    async with FetchingEmulator() as running:
        yield running


@pytest.fixture
def plugin_type():
    return Fetching


async def test_a_report_is_fetched_with_its_code(plugin, provider, sms, core):
    await plugin.send_sms(sms())
    provider.queued.append(provider.event("LOST", provider.taken[0]))
    await wait_until(lambda: bool(core.reports), lambda: "nothing was reported")

    (event,) = core.reports[0].events
    assert event == StatusEvent(status=Status.FAILED, message_id=sms().id, code="27")


async def test_an_outage_is_logged_and_ends(plugin, provider, sms, core):
    provider.failure = emulator.answer(503)
    await wait_until(lambda: bool(core.logged), lambda: "nothing was logged")
    provider.failure = emulator.NO_FAILURE
    await plugin.send_sms(sms())
    provider.queued.append(provider.event("DONE", provider.taken[0]))
    await wait_until(lambda: bool(core.reports), lambda: "nothing was reported")

    assert core.logged[0]["event"] == "reports_not_fetched"
    assert core.logged[0]["code"] == "503"
