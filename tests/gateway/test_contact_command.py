"""`gatepost contact`, beside a running gateway and without one: what it shows, and what it never shows."""

import json

import pytest

from gatepost.errors import StoreError, Unavailable
from gatepost.hookspecs import API_VERSION, ContactSource, hookimpl
from gatepost.model import Contact, Secret
from gatepost.outbox import Outbox, audit
from gatepost.plugin_host import discovery
from reporting_plugin import Settings

CONTACTS = """\
ext_user_id,email,phone,blocked
anna,anna@players.example,,
broken,not-an-address,07700 900100,
gone,gone@players.example,+447700900101,self-excluded
"""
ADDRESSES = "players.example", "7700", "not-an-address"
PHONE = "+447700900100"


class Crm(ContactSource):
    """A source that knows the number of anna; a test says whether it is away."""

    api_version = API_VERSION
    settings_type = Settings
    away = False
    lookups = 0

    def __init__(self, settings, context):
        pass

    @hookimpl
    async def find_contact(self, ext_user_id):
        Crm.lookups += 1
        if Crm.away:
            raise Unavailable("the database is down")
        return Contact(phone=Secret(PHONE)) if ext_user_id == "anna" else None


@pytest.fixture
def source(deployment, monkeypatch):
    """Return the class of a source that completes the contacts file."""
    load = discovery.load
    monkeypatch.setattr(discovery, "load", lambda use: Crm if use == "crm" else load(use))
    monkeypatch.setattr(Crm, "away", False)
    monkeypatch.setattr(Crm, "lookups", 0)
    deployment.contacts = CONTACTS
    deployment.tables["plugins.crm"] = {"use": "crm", "merge": True}
    deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    deployment.tables["contacts"] = {"sources": ["players", "crm"]}
    return Crm


@pytest.fixture(params=["beside a gateway", "without one"])
async def place(request, deployment, source):
    """Run the test beside a gateway, or after one has run."""
    async with deployment.running(email=["box"], sms=["box"]):
        if request.param == "beside a gateway":
            yield
            return
    yield


def parsed(output):
    """Return the JSON that a command printed; the gateway in this process may have logged a line beside it."""
    lines = output.splitlines()
    start = next(number for number, line in enumerate(lines) if line and line[0] in "[{")
    return json.JSONDecoder().raw_decode("\n".join(lines[start:]))[0]


def hides(output):
    return not [one for one in ADDRESSES if one in output]


async def test_a_user_whom_two_sources_know(place, run):
    output = await run("contact", "anna")

    assert hides(output)
    for line in (
        "anna of brand: known",
        "  email       usable, from players",
        "  sms         usable, from crm",
        "  blocked     no",
        "  suppressed  no",
        "  source      players: knows the user, with email (",
        " ms); data written ",
        "  source      crm: knows the user, with phone (",
    ):
        assert line in output


async def test_as_json(place, run):
    output = await run("contact", "gone", "--json")

    found = parsed(output)
    assert hides(output)
    assert (found["is_known"], found["blocked"], found["blocked_by"]) == (True, "self-excluded", "players")
    assert [one["source"] for one in found["channels"]] == ["players", "players"]
    assert [one["state"] for one in found["sources"]] == ["known", "unknown"]
    assert found["sources"][0]["data_at"].endswith("Z")
    assert (found["suppression"], "addresses" in found) == (None, False)


async def test_what_can_not_be_used_is_explained(place, run):
    output = await run("contact", "broken")

    assert hides(output)
    assert "  email       not usable: the email address of players is not exactly one address" in output
    assert (
        "  sms         not usable: the phone number of players has no country code, and contacts.de" in output
    )


async def test_an_unknown_user_has_exit_code_1(place, run):
    assert "nobody of brand: no contact source knows this ext_user_id" in await run(
        "contact", "nobody", code=1
    )
    assert "an ext_user_id has 1 to 512 characters" in await run("contact", "x" * 513, code=1)


async def test_a_source_that_does_not_answer_is_named(place, run, source):
    source.away = True
    output = await run("contact", "anna")
    assert "sms         not usable: no source that answered has one; crm did not answer" in output
    assert "source      crm: did not answer: " in output
    output = await run("contact", "nobody", code=1)
    assert "not found, but a source did not answer: messages are accepted and wait" in output


async def test_a_suppressed_user(place, run):
    await run("suppress", "add", "anna", "--reason", "asked by mail")

    output = await run("contact", "anna")
    assert "suppressed  without an end, by " in output
    assert ": asked by mail" in output
    found = parsed(await run("contact", "anna", "--json"))
    assert (found["suppression"]["reason"], found["suppression"]["ends_at"]) == ("asked by mail", None)


async def test_an_unknown_client_names_the_known_ones(place, run):
    output = await run("contact", "anna", "--client", "bramd", code=1)
    assert "the configuration has no client bramd" in output
    assert "brand" in output.replace("bramd", "")


async def test_reveal_shows_the_contact_and_is_recorded(place, run):
    output = await run("contact", "anna", "--reveal")
    assert "  email       usable, from players: anna@players.example" in output
    assert f"  sms         usable, from crm: {PHONE}" in output
    found = parsed(await run("contact", "broken", "--reveal", "--json"))
    assert found["addresses"] == {"email": "not-an-address", "sms": "07700 900100"}
    audited = await run("audit", "list", "--json")
    entries = parsed(audited)
    assert [(one["operation"], one["target"]["client"]) for one in entries] == [("reveal", "brand")] * 2
    assert all(one["actor"] for one in entries)
    assert hides(audited)
    assert "anna" not in audited


async def test_without_the_record_nothing_is_revealed(place, run, source, monkeypatch):
    change = Outbox.change

    async def fail_to_record(outbox, operation, order):
        if operation is audit.append:
            raise StoreError("the disk is full")
        return await change(outbox, operation, order)

    monkeypatch.setattr(Outbox, "change", fail_to_record)
    output = await run("contact", "anna", "--reveal", code=1)

    assert "the disk is full" in output
    assert hides(output)
    assert source.lookups == 0


async def test_what_is_revealed_never_goes_over_the_socket(deployment, source, run, monkeypatch):
    calls = []

    async def examine(*arguments):
        calls.append(arguments)
        raise AssertionError

    async with deployment.running(email=["box"], sms=["box"]):
        monkeypatch.setattr("gatepost.web.admin.users.examine", examine)
        assert PHONE in await run("contact", "anna", "--reveal")
    assert calls == []


async def test_a_gateway_that_never_ran_has_no_suppressions_and_reveals_nothing(deployment, source, run):
    deployment.write()
    output = await run("contact", "anna")
    assert "sms         usable, from crm" in output
    assert "suppressed  not known: there is no store" in output
    assert hides(await run("contact", "anna", "--reveal", code=1))


async def test_only_faults_of_the_clients_sources_matter(deployment, source, run):
    deployment.tables["plugins.box"] = {"use": "sandbox", "foldr": "box"}
    deployment.write()
    await run("contact", "anna")
    deployment.tables["plugins.players"] |= {"path": "missing.csv"}
    deployment.write()
    assert "plugins.players.path: " in await run("contact", "anna", code=1)
