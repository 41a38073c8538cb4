"""Twilio, written with the helpers of gatepost.wire: the kit's checks, and what is Twilio's own."""

import sys
from pathlib import Path

import pytest
import structlog

sys.path.insert(0, str(Path(__file__).parent))

from emulator import TwilioEmulator
from gatepost_twilio_exercise import Settings, Twilio

from gatepost.errors import ConfigError, Rejected, Unavailable
from gatepost.hookspecs import Context
from gatepost.model import Secret, Sms, Status
from gatepost.testing.suites import LifespanSuite, PingSuite, SmsSuite, WebhookSuite
from gatepost.testing.webhook_requests import webhook_request

NUMBER = "+447700900123"
ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"
PACKAGE = Path(__file__).parent / "gatepost_twilio_exercise"


class TestConformance(LifespanSuite, PingSuite, SmsSuite, WebhookSuite):
    plugin = Twilio
    emulator = TwilioEmulator


@pytest.fixture
async def provider():
    async with TwilioEmulator() as emulator:
        yield emulator


@pytest.fixture
def settings(provider):
    def create(**other):
        values = {
            "account_sid": provider.account_sid,
            "key_sid": provider.account_sid,
            "key_secret": Secret(provider.auth_token),
            "auth_token": Secret(provider.auth_token),
        }
        return Settings(**values | {"base_url": provider.base_url, "default_sender": "Amazing"} | other)

    return create


@pytest.fixture
async def plugin(settings):
    context = Context(
        name="twilio", log=structlog.get_logger(), webhook_url="https://gw.example/webhooks/twilio"
    )
    instance = Twilio(settings(), context)
    async with instance.lifespan():
        yield instance


def sms(text="Hello", **other):
    fields = {"id": ID, "recipient": Secret(NUMBER), "sender": None, "lifetime": 600.0}
    return Sms(text=text, **fields | other)


async def test_a_message_leaves_as_a_form(provider, plugin):
    receipt = await plugin.send_sms(sms("50 % & more: ж"))

    [taken] = provider.taken
    assert taken.message == {
        "To": NUMBER,
        "From": "Amazing",
        "Body": "50 % & more: ж",
        "ValidityPeriod": "600",
        "StatusCallback": f"https://gw.example/webhooks/twilio?id={ID}",
    }
    assert (receipt.provider_id, receipt.parts) == (taken.provider_id, 1)
    assert receipt.price is None


@pytest.mark.parametrize(
    ("code", "outcome", "more"),
    [
        (21610, Rejected, {"status": Status.UNSUBSCRIBED}),
        (21211, Rejected, {"status": None}),
        (21614, Rejected, {"status": None}),
        (21408, Unavailable, {"misconfigured": True, "content_only": True}),
        (21606, Unavailable, {"misconfigured": True, "content_only": True}),
    ],
)
async def test_a_code_decides(provider, plugin, code, outcome, more):
    provider.refusal = code
    with pytest.raises(outcome) as raised:
        await plugin.send_sms(sms())

    assert raised.value.code == str(code)
    assert {name: getattr(raised.value, name) for name in more} == more


async def test_a_text_that_is_too_long_is_not_sent(provider, plugin):
    with pytest.raises(Rejected):
        await plugin.send_sms(sms("x" * 1_601))

    assert provider.requests == []


async def test_a_suspended_account_is_misconfigured(provider, plugin):
    await plugin.ping()
    provider.account_status = "suspended"
    with pytest.raises(Unavailable) as raised:
        await plugin.ping()

    assert raised.value.misconfigured


@pytest.mark.parametrize(
    ("text", "more", "stops"),
    [
        ("STOP", {}, True),
        (" stop ", {}, True),
        ("Arrêt", {"OptOutType": "STOP"}, True),
        ("please don't stop", {}, False),
        ("START", {"OptOutType": "START"}, False),
    ],
)
async def test_a_stop_names_the_number(provider, plugin, text, more, stops):
    [body] = provider.bodies([provider.incoming(text, NUMBER, **more)], batch=1)
    report = await plugin.parse_webhook(provider.sign(webhook_request(body=body)))

    assert [(event.status, event.recipient) for event in report.events] == (
        [(Status.UNSUBSCRIBED, Secret(NUMBER))] if stops else []
    )
    assert report.ignored == ({} if stops else {"incoming": 1})
    assert report.answer.body == b"<Response/>"
    assert report.answer.content_type == "text/xml"


def test_every_fault_of_the_settings_is_named_at_once():
    settings = Settings(
        account_sid="AC1",
        auth_token=Secret("two words"),
        key_sid="SK2",
        key_secret=Secret("x"),
        messaging_service="MG3",
        base_url="api.twilio.com",
    )
    with pytest.raises(ConfigError) as refusal:
        Twilio(settings, Context(name="twilio", log=structlog.get_logger()))

    keys = {fault.key for fault in refusal.value.faults}
    assert keys == {"account_sid", "auth_token", "key_sid", "messaging_service", "base_url"}


def test_it_is_short():
    lines = [line for path in PACKAGE.glob("*.py") for line in path.read_text().splitlines() if line.strip()]

    assert len(lines) <= 170
