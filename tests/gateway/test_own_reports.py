"""Reports that a plugin makes by itself: from a poll, a bind or a mailbox."""

import asyncio
import sqlite3

import pytest
import structlog

import reporting_plugin
from gatepost.errors import Unavailable
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookAnswer
from gatepost.outbox import sqlite
from gatepost.plugin_host import discovery


@pytest.fixture
def plugin(deployment, monkeypatch):
    """Return the class of the instance ``acme``, which sends on both channels."""
    plugin = reporting_plugin.fresh()
    load = discovery.load
    monkeypatch.setattr(discovery, "load", lambda use: plugin if use == "acme" else load(use))
    deployment.tables["plugins.acme"] = {"use": "acme"}
    return plugin


def delivered(message):
    return Report(events=[StatusEvent(status=Status.DELIVERED, message_id=message)])


async def test_it_is_recorded_when_the_call_returns(deployment, plugin):
    async with deployment.running(email=["acme"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await plugin.contexts["acme"].report(delivered(message))
        with sqlite3.connect(f"file:{deployment.folder}/gatepost.db?mode=ro", uri=True) as database:
            stored = database.execute("SELECT status FROM statuses ORDER BY seq").fetchall()
        database.close()
        assert stored == [("accepted",), ("delivered",)]
        await deployment.hears(message, "accepted", "delivered")
        await plugin.contexts["acme"].report(delivered(message))
        await plugin.contexts["acme"].report(Report(ignored={"read": 2, "click": 10**400}))
        figures = await gateway.metrics()
    assert figures["gatepost_reported_events_total", "delivered", "acme"] == 2
    assert figures["gatepost_reported_events_total", "repeated", "acme"] == 1
    assert figures["gatepost_reported_events_total", "ignored.read", "acme"] == 2
    assert figures["gatepost_plugin_reports_total", "recorded", "acme"] == 3
    assert figures["gatepost_webhooks_total", "acme", "200"] == 0


async def test_the_call_says_how_many_events_are_of_no_known_message(deployment, plugin):
    """A report may come before the answer to its send is stored: the plugin reports it again then."""
    unknown = [
        StatusEvent(status=Status.DELIVERED, provider_id="of-another-gateway"),
        StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret("+447700900999")),
    ]
    async with deployment.running(email=["acme"]):
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        report = plugin.contexts["acme"].report
        assert await report(delivered(message)) == 0
        assert await report(delivered(message)) == 0, "a repeated event is of a known message"
        assert await report(Report(events=[*delivered(message).events, *unknown])) == 2


async def test_events_that_can_not_be_recorded_are_logged_once_a_minute(deployment, plugin):
    """What a plugin reports may come from strangers, such as mails to an address of bounces."""
    unknown = Report(
        events=[StatusEvent(status=Status.FAILED, provider_id="unknown")], ignored={"malformed": 1}
    )
    async with deployment.running(email=["acme"]) as gateway:
        await deployment.hears(await deployment.email(), "accepted")
        with structlog.testing.capture_logs() as logged:
            for _ in range(20):
                await plugin.contexts["acme"].report(unknown)
        figures = await gateway.metrics()

    assert [one["event"] for one in logged].count("reported_events_not_recorded") == 1
    assert figures["gatepost_reported_events_total", "unknown", "acme"] == 20
    assert figures["gatepost_reported_events_total", "ignored.malformed", "acme"] == 20


async def test_a_task_of_the_lifespan_reports_once_the_gateway_runs(deployment, plugin):
    """While the lifespan is being entered the store is not open yet."""
    outcomes = []

    async def poll(context):
        while True:
            try:
                await context.report(Report())
            except Unavailable as error:
                outcomes.append(error.reason)
                await asyncio.sleep(0)
            else:
                outcomes.append("recorded")
                return

    tasks = []

    async def start(context):
        with pytest.raises(Unavailable):
            await context.report(Report())
        tasks.append(asyncio.create_task(poll(context)))
        plugin.during_lifespan = staticmethod(reporting_plugin.nothing)

    plugin.during_lifespan = staticmethod(start)
    async with deployment.running(email=["acme"]):
        await asyncio.gather(*tasks)
    assert outcomes[-1] == "recorded"
    assert set(outcomes[:-1]) <= {"the gateway is not running"}


async def test_while_the_lifespan_closes_it_is_still_recorded_and_afterwards_not(deployment, plugin):
    """What the provider said last must not get lost: a plugin records it and then says goodbye."""
    async with deployment.running(email=["acme"]):
        message = await deployment.email()
        await deployment.hears(message, "accepted")

        async def report_last(context):
            await context.report(delivered(message))

        plugin.during_lifespan = staticmethod(report_last)
    with pytest.raises(Unavailable, match="not running"):
        await plugin.contexts["acme"].report(delivered(message))
    plugin.during_lifespan = staticmethod(reporting_plugin.nothing)
    async with deployment.running(email=["acme"]):
        await deployment.hears(message, "accepted", "delivered")


async def test_while_the_store_is_locked_it_is_unavailable(deployment, plugin, monkeypatch):
    patient = tuple(text for text in sqlite._PRAGMAS if not text.startswith("busy_timeout"))
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*patient, "busy_timeout=20"))
    async with deployment.running(email=["acme"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await gateway.settled()
        report = plugin.contexts["acme"].report
        other = sqlite3.connect(deployment.folder / "gatepost.db")
        other.execute("BEGIN IMMEDIATE")
        with structlog.testing.capture_logs() as logged:
            for _ in range(3):
                with pytest.raises(Unavailable) as refused:
                    await report(delivered(message))
                assert refused.value.__context__ is None
        other.rollback()
        other.close()
        assert [one["event"] for one in logged].count("report_not_stored") == 1
        await report(delivered(message))
        await deployment.hears(message, "accepted", "delivered")
        figures = await gateway.metrics()
    assert figures["gatepost_plugin_reports_total", "unavailable", "acme"] == 3
    assert figures["gatepost_plugin_reports_total", "recorded", "acme"] == 1


class RaisesOddly(dict):
    def items(self):
        raise RuntimeError("anna@players.example")


@pytest.mark.parametrize(
    "report",
    [None, {"events": []}, Report(events=iter([])), Report(ignored=[]), Report(ignored=RaisesOddly())],
    ids=["none", "dict", "iterator", "list", "raises"],
)
async def test_anything_but_a_report_is_a_violation(deployment, plugin, report):
    async with deployment.running(email=["acme"]) as gateway:
        with structlog.testing.capture_logs() as logged, pytest.raises(TypeError) as refused:
            await plugin.contexts["acme"].report(report)
        assert refused.value.__context__ is None
        assert (await gateway.metrics())["gatepost_plugin_violations_total", "acme"] == 1
    assert "anna@" not in f"{logged} {refused.value}"


async def test_invalid_events_are_a_violation_and_the_others_are_recorded(deployment, plugin):
    async with deployment.running(email=["acme"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        (good,) = delivered(message).events
        bad = [
            "delivered",
            StatusEvent(status="delivered", message_id=message),
            StatusEvent(status=Status.OPENED),
            StatusEvent(status=Status.OPENED, recipient="+447700900100"),
        ]
        await plugin.contexts["acme"].report(Report(events=[*bad, good], answer=WebhookAnswer(body=b"?")))
        await deployment.hears(message, "accepted", "delivered")
        figures = await gateway.metrics()
    assert figures["gatepost_reported_events_total", "ignored.invalid", "acme"] == 4
    assert figures["gatepost_plugin_violations_total", "acme"] == 1


async def test_after_the_lifespan_ended_by_itself_nothing_is_recorded(deployment, plugin, wait_until):
    """What it had opened is closed, so what it says may be anything."""
    die = asyncio.Event()

    async def waits(_context):
        plugin.during_lifespan = staticmethod(reporting_plugin.nothing)

    plugin.during_lifespan = staticmethod(waits)
    plugin.until = die
    async with deployment.running(email=["acme"]) as gateway:
        die.set()

        async def has_ended():
            return (await gateway.metrics())["gatepost_plugin_violations_total", "acme"] == 1

        await wait_until(has_ended)
        with pytest.raises(Unavailable, match="lifespan has ended"):
            await plugin.contexts["acme"].report(Report())
