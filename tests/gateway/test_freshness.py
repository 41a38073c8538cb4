"""How old the data of a contact source are: a fact in the status, in the metrics, in the console and in the alerts."""

import json
import os
import time
from dataclasses import dataclass

import anyio
import msgspec
import pytest
from aiohttp import web

from console_browser import Console
from gatepost.alerts import changes, loop
from gatepost.hookspecs import API_VERSION, ContactSource, ContactsState, hookimpl
from gatepost.model import Contact, Secret
from gatepost.plugin_host import discovery
from gatepost.testing.serving import serving

STALE_AFTER = 3600.0


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings without a key."""


class Replica(ContactSource):
    """A source that knows its lag and not its users, as one in front of a replica; a test calls ``describe``."""

    api_version = API_VERSION
    settings_type = NoSettings

    def __init__(self, settings, context):
        type(self).describe = context.describe_contacts

    @hookimpl
    async def find_contact(self, ext_user_id):
        return Contact(email=Secret("anna@players.example"))


@dataclass
class Facts:
    """What an operator finds of one source."""

    freshness: str
    text: str
    problems: list[str]
    metrics: dict[str, float]


@pytest.fixture
def facts(run):
    """Return a function that reads the facts about a source of a running gateway."""

    async def facts(gateway, instance):
        output = await run("status", "--json", code=None)
        # The gateway in this process may log a line before.
        report, _ = json.JSONDecoder().raw_decode(output, output.index("{\n"))
        (source,) = [one for one in report["process"]["sources"] if one["instance"] == instance]
        problems = [one["text"] for one in report["problems"] if one["kind"] == "contacts_stale"]
        code = 1 if problems else 0
        shown = " ".join((await run("status", code=code)).split())
        text = shown.partition(f"contacts {instance}: ")[2].partition(" callbacks ")[0]
        metrics = {
            one.name.removeprefix("gatepost_contacts_"): one.value
            for one in await gateway.scrape()
            if one.name.startswith("gatepost_contacts_") and one.labels["plugin"] == instance
        }
        return Facts(source["freshness"], text, problems, metrics)

    return facts


@pytest.fixture
def replica(deployment, monkeypatch):
    load = discovery.load
    monkeypatch.setattr(discovery, "load", lambda use: Replica if use == "replica" else load(use))
    deployment.tables["plugins.replica"] = {"use": "replica"}
    deployment.tables["contacts"] |= {"sources": ["replica"], "stale_after": STALE_AFTER}
    return Replica


@pytest.fixture
async def alerts(deployment, monkeypatch):
    """Return the messages that a receiver has taken."""
    for module, name in ((loop, "LOOK_INTERVAL"), (loop, "DIGEST_WAIT"), (loop, "MIN_INTERVAL")):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(changes, "SETTLE", 0.0)
    messages = []

    async def take(request):
        messages.append(json.loads(await request.read()))
        return web.Response()

    async with serving(web.Server(take)) as url:
        monkeypatch.setenv("ALERT_URL", url.replace("http://", "json://"))
        deployment.tables["alerts"] = {"notify": ["env:ALERT_URL"]}
        yield messages


async def test_a_source_says_its_age_grows_stale_and_stops_to_say_it(
    deployment, sendgrid, replica, facts, alerts, wait_until
):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        unknown = await facts(gateway, "replica")
        assert unknown == Facts("unknown", "does not say how old its data are", [], {})

        replica.describe(ContactsState(as_of=time.time() - 60))
        fresh = await facts(gateway, "replica")
        assert (fresh.freshness, fresh.problems, fresh.metrics["stale"]) == ("fresh", [], 0.0)
        assert 60 <= fresh.metrics["age_seconds"] < STALE_AFTER
        assert fresh.text.startswith("data ")
        assert "users" not in fresh.metrics

        # It says no more: what it said grows old.
        replica.describe(ContactsState(as_of=time.time() - 2 * STALE_AFTER - 60))
        stale = await facts(gateway, "replica")
        assert (stale.freshness, stale.text) == ("stale", "data 2 h old, which is stale")
        assert stale.problems == ["the data of plugins.replica are 2 h old"]
        assert stale.metrics["stale"] == 1.0
        await wait_until(lambda: "the data of plugins.replica are 2 h old" in str(alerts))

        replica.describe(ContactsState())
        lost = await facts(gateway, "replica")
        assert (lost.freshness, lost.metrics) == ("lost", {"stale": 1.0})
        assert lost.problems == ["plugins.replica no longer says how old its data are"]
        await deployment.hears(await deployment.email(), "accepted")

        replica.describe(ContactsState(as_of=time.time()))
        assert (await facts(gateway, "replica")).problems == []
        await wait_until(lambda: "Over: " in str(alerts))


async def test_a_time_in_the_future_is_no_age(deployment, sendgrid, replica, facts):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        replica.describe(ContactsState(as_of=time.time() + 2 * 86_400 + 60))
        future = await facts(gateway, "replica")
    assert (future.freshness, future.metrics["stale"]) == ("future", 1.0)
    assert future.text == "data of a time 2 days from now"
    assert future.problems == [
        "the data of plugins.replica are of a time 2 days from now, so their age is unknown"
    ]


async def test_with_0_no_age_is_stale(deployment, sendgrid, replica, facts):
    deployment.tables["contacts"]["stale_after"] = 0
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        replica.describe(ContactsState(as_of=1.0))
        old = await facts(gateway, "replica")
    assert (old.freshness, old.problems, old.metrics["stale"]) == ("fresh", [], 0.0)


async def test_the_console_shows_that_the_contacts_are_stale(deployment, sendgrid, begin, wait_until):
    deployment.tables["console"] = {"listen": "127.0.0.1:0"}
    process, gateway = await begin(email=["sendgrid-main"])
    await wait_until(lambda: "console_listening" in process.log.read_text())
    os.utime(deployment.folder / "contacts.csv", (1_700_000_000, 1_700_000_000))

    async def is_stale():
        values = {one.name: one.value for one in await gateway.scrape()}
        return values["gatepost_contacts_stale"] == 1.0

    with anyio.fail_after(60):
        while not await is_stale():  # noqa: ASYNC110  the gateway is another process
            await anyio.sleep(0.05)
    console = Console(process)
    await console.run("add-user", "maria", "--role", "operator")
    async with console.browser("maria") as browser:
        _, text = await browser.get("/plugins")
    assert '<span class="state warn">stale</span>' in text
    assert "The data of plugins.players are" in text
