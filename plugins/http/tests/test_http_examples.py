"""The tables of the guide, as they stand there, against an emulator of each vendor: Gatepost's checks of every plugin."""

import re
import tomllib
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gatepost.errors import Rejected, Unavailable
from gatepost.model import Secret, Status, StatusEvent
from gatepost.testing.suites import EmailSuite, LifespanSuite, PingSuite, SmsSuite, WebhookSuite
from gatepost.testing.webhook_requests import webhook_request
from gatepost_http import Http
from gatepost_http.testing import AcmeEmulator, BrevoEmulator, ElksEmulator, InfobipEmulator, SinchEmulator

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "providers" / "http.md"

EXAMPLES = {
    "infobip": InfobipEmulator,
    "sinch": SinchEmulator,
    "elks": ElksEmulator,
    "brevo": BrevoEmulator,
}


def tables():
    """Return the tables of the guide by the names of their instances."""
    blocks = re.findall(r"^```toml\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return {name: table for block in blocks for name, table in tomllib.loads(block)["plugins"].items()}


def with_values(value, environment):
    """Return a table with the values of its ``env:NAME``."""
    if isinstance(value, dict):
        return {key: with_values(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [with_values(item, environment) for item in value]
    if isinstance(value, str) and value.startswith("env:"):
        return environment[value.removeprefix("env:")]
    return value


def table_for(name, provider):
    """Return a table of the guide that leads to the emulated provider, with its credentials."""
    table = with_values(tables()[name], provider.environment)
    assert table.pop("use") == "http"
    return {**table, "base_url": provider.base_url + urlsplit(table["base_url"]).path}


class Example(LifespanSuite, PingSuite, WebhookSuite):
    plugin = Http
    name = ""

    @pytest.fixture
    def table(self, provider):
        return table_for(self.name, provider)


class TestAcme(LifespanSuite, PingSuite, WebhookSuite, SmsSuite):
    """The aggregator that has all that a table can describe."""

    plugin, emulator = Http, AcmeEmulator


class TestInfobip(Example, SmsSuite):
    name, emulator = "infobip", InfobipEmulator


class TestSinch(Example, SmsSuite):
    name, emulator = "sinch", SinchEmulator


class TestElks(Example, SmsSuite):
    name, emulator = "elks", ElksEmulator


class TestBrevo(Example, EmailSuite):
    name, emulator = "brevo", BrevoEmulator


# What the kit does not know of.


@pytest.fixture
def example(build):
    """``async with example("sinch", SinchEmulator) as (plugin, provider)``: a table of the guide on its emulator."""

    @asynccontextmanager
    async def run(name, emulator_type):
        async with emulator_type() as provider:
            plugin = build(table=table_for(name, provider))
            async with plugin.lifespan():
                yield plugin, provider

    return run


async def test_no_table_of_the_guide_is_warned_of_anything(build):
    for name, emulator_type in EXAMPLES.items():
        warned = {}
        async with emulator_type() as provider:
            build(table=table_for(name, provider), warn=warned.setdefault)
        assert warned == {}


def test_the_guide_has_the_tables_that_are_tested():
    assert tables().keys() == EXAMPLES.keys()


async def test_infobip_refuses_with_an_answer_200(example, sms):
    async with example("infobip", InfobipEmulator) as (plugin, infobip):
        infobip.rejects = "REJECTED_DESTINATION"
        with pytest.raises(Rejected) as rejected:
            await plugin.send_sms(sms())
        infobip.rejects = "REJECTED_NOT_ENOUGH_CREDITS"
        with pytest.raises(Unavailable) as unavailable:
            await plugin.send_sms(sms())
    assert rejected.value.code == "REJECTED"
    assert (unavailable.value.code, unavailable.value.misconfigured) == ("REJECTED_NOT_ENOUGH_CREDITS", True)


async def test_sinch_passes_on_a_stop(example, sms):
    async with example("sinch", SinchEmulator) as (plugin, sinch):
        await plugin.send_sms(sms())
        (body,) = sinch.bodies([sinch.event("STOP", sinch.taken[0])], batch=0)
        report = await plugin.parse_webhook(sinch.sign(webhook_request(body=body)))
    assert list(report.events) == [StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret("+447700900123"))]


async def test_46elks_reports_with_our_id_in_the_url(example, sms):
    async with example("elks", ElksEmulator) as (plugin, elks):
        message = sms()
        await plugin.send_sms(message)
        url = elks.taken[0].message["whendelivered"]
        (body,) = elks.bodies([elks.event("delivered", elks.taken[0])], batch=0)
        report = await plugin.parse_webhook(webhook_request(url, body))
    (event,) = report.events
    assert (event.message_id, event.provider_id) == (message.id, elks.taken[0].provider_id)


async def test_brevo_drops_a_repeat_and_that_is_a_success(example, email):
    async with example("brevo", BrevoEmulator) as (plugin, brevo):
        message = email()
        first = await plugin.send_email(message)
        repeat = await plugin.send_email(message)
        assert (bool(first.provider_id), repeat.provider_id) == (True, "")
        assert len(brevo.taken) == 1
        assert (plugin.replay_safe, plugin.retry_status) == (900, 429)
