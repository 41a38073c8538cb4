"""Users who must not be contacted: refused at acceptance, and asked for again right before each send."""

import asyncio
import sqlite3
from contextlib import closing

import msgspec
import pytest
from click.testing import CliRunner

from gatepost.cli import main
from gatepost.errors import Unavailable
from gatepost.hookspecs import API_VERSION, ContactSource, hookimpl
from gatepost.model import Contact
from gatepost.plugin_host import discovery
from gatepost.testing import emulator

BLOCKED = "ext_user_id,email,phone,blocked\nexcluded,ella@players.example,+447700900188,self-excluded\n"


PREVIEW = {"activity_type": "preview", "to_email_address": "support@brand.example"}


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings without a key."""


class Exclusions(ContactSource):
    """A source that knows only who is blocked; a test sets who that is, and whether the source is away."""

    api_version = API_VERSION
    settings_type = NoSettings
    away = False
    blocked = frozenset({"nophone"})
    lookups = 0

    def __init__(self, settings, context):
        pass

    @hookimpl
    async def find_contact(self, ext_user_id):
        cls = type(self)
        cls.lookups += 1
        if cls.away:
            raise Unavailable("the exclusions are away")
        return Contact(blocked="self-excluded") if ext_user_id in cls.blocked else None


@pytest.fixture
def exclusions(deployment, monkeypatch):
    """Configure a source with ``blocks = true`` after the contacts file."""
    load = discovery.load
    monkeypatch.setattr(discovery, "load", lambda use: Exclusions if use == "exclusions" else load(use))
    for name, value in (("away", False), ("blocked", frozenset({"nophone"})), ("lookups", 0)):
        monkeypatch.setattr(Exclusions, name, value)
    deployment.tables["plugins.exclusions"] = {"use": "exclusions", "blocks": True}
    deployment.tables["contacts"]["sources"] = ["players", "exclusions"]
    return Exclusions


@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_a_blocked_user_is_refused(deployment, sendgrid, vonage, channel):
    deployment.contacts = BLOCKED
    async with deployment.running(email=["sendgrid-main"], sms=["vonage-eu"]):
        send = deployment.crm.send_email if channel == "email" else deployment.crm.send_sms
        answer = await send(ext_user_id="excluded")

    assert answer == {
        "error_code": 13,
        "error_message": "the user must not be contacted (self-excluded)",
    }


async def test_a_source_that_blocks_is_asked_although_another_knows_the_address(
    deployment, sendgrid, exclusions
):
    async with deployment.running(email=["sendgrid-main"]):
        assert (await deployment.crm.send_email(ext_user_id="nophone"))["error_code"] == 13
        await deployment.hears(await deployment.email("anna"), "accepted")


async def test_a_user_who_is_blocked_between_arrival_and_send_is_not_mailed(
    deployment, sendgrid, exclusions, monkeypatch
):
    """What the arrival found is a second old, and does not count."""
    answer = Exclusions.find_contact

    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await answer(self, ext_user_id)
        Exclusions.blocked = frozenset({"anna"})
        return found

    monkeypatch.setattr(Exclusions, "find_contact", find_contact)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email("anna")
        await deployment.hears(message, "rejected")
        await gateway.settled()

    assert sendgrid.requests == []
    assert _row(deployment, message) == ("rejected", "the user must not be contacted (self-excluded)", 0)


async def test_while_a_source_that_blocks_is_away_nothing_is_sent_and_nothing_lost(
    deployment, sendgrid, exclusions, wait_until
):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        exclusions.away = True
        sent, blocked = await deployment.email("anna"), await deployment.email("nophone")
        unknown, without = await deployment.email("nobody"), await deployment.email("nomail")
        seen = exclusions.lookups
        # Each of them is tried several times.
        await wait_until(lambda: exclusions.lookups > seen + 12)
        assert deployment.crm.attempts == []
        assert sendgrid.requests == []
        exclusions.away = False
        await deployment.hears(sent, "accepted")
        for message in (blocked, unknown, without):
            await deployment.hears(message, "rejected")
        await gateway.settled()

    assert [taken.id for taken in sendgrid.taken] == [sent]


async def test_a_source_that_goes_away_after_the_arrival_stops_the_send(
    deployment, sendgrid, exclusions, wait_until
):
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email("anna")
        await wait_until(lambda: sendgrid.requests)
        exclusions.away = True
        sendgrid.failure = emulator.NO_FAILURE
        seen = exclusions.lookups
        await wait_until(lambda: exclusions.lookups > seen + 3)
        assert sendgrid.taken == []
        exclusions.away = False
        await deployment.hears(message, "accepted")


async def test_a_user_who_is_suppressed_between_arrival_and_send_is_not_mailed(
    deployment, sendgrid, exclusions
):
    deployment.tables["clients.brand"]["preview_recipients"] = ["support@brand.example"]
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        exclusions.away = True
        suppressed, sent = await deployment.email("anna"), await deployment.email("broken", **PREVIEW)
        await _suppress(deployment, "anna")
        await _suppress(deployment, "broken")
        exclusions.away = False
        await deployment.hears(suppressed, "rejected")
        await deployment.hears(sent, "accepted")
        await gateway.settled()

    assert [taken.id for taken in sendgrid.taken] == [sent]
    assert _row(deployment, suppressed) == ("rejected", "the user must not be contacted (by mail)", 0)


async def test_a_suppressed_user_without_an_address_is_13_and_an_unknown_one_is_1(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]):
        for user in ("nomail", "nobody"):
            await _suppress(deployment, user)
        answers = [await deployment.crm.send_email(ext_user_id=user) for user in ("nomail", "nobody")]

    assert [answer["error_code"] for answer in answers] == [13, 1]


async def test_a_status_suppresses_its_user(deployment, sendgrid):
    deployment.tables["delivery"]["suppress"] = ["complained"]
    async with deployment.running(email=["sendgrid-main"]):
        first = await deployment.email("anna")
        await deployment.hears(first, "accepted")
        await sendgrid.report([sendgrid.event("spamreport", sendgrid.taken[0])])
        await deployment.crm.wait_for(first, "complained", timeout=60)
        answer = await deployment.crm.send_email(ext_user_id="anna")
        repeated = await deployment.crm.send_email(ext_user_id="nomail")

    assert answer == {"error_code": 13, "error_message": "the user must not be contacted (complained)"}
    assert repeated["error_code"] == 2


async def _suppress(deployment, user):
    config = str(deployment.folder / "gatepost.toml")
    arguments = ["suppress", "add", user, "--reason", "by mail", "--config", config]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 0, result.output


def _row(deployment, message):
    """Return the state and the reason of a message, and how many contents are stored for it."""
    with closing(sqlite3.connect(deployment.folder / "gatepost.db")) as database:
        state, reason = database.execute(
            "SELECT state, reason FROM messages WHERE id = ?", [message]
        ).fetchone()
        (contents,) = database.execute(
            "SELECT count(*) FROM contents WHERE message_id = ?", [message]
        ).fetchone()
    return state, reason, contents
