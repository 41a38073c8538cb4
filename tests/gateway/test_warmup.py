"""A gateway whose plugin warms up: what is sent, and what an operator sees of it."""

import asyncio
import time

import pytest


@pytest.fixture(autouse=True)
async def away_from_midnight():
    """Begin no test in the last minute of a day, because a new cap would begin in the middle of it."""
    if (left := 86_400 - time.time() % 86_400) < 60:
        await asyncio.sleep(left + 1)


@pytest.fixture
def warming(deployment, sendgrid):
    """Let sendgrid-main begin two sends on the first day."""
    deployment.tables["plugins.sendgrid-main"] |= {"warmup": {"from": 2, "factor": 1.5}}
    return deployment


async def test_what_exceeds_the_cap_waits_and_is_shown(warming, sendgrid, run, wait_until):
    async with warming.running(email=["sendgrid-main"]) as gateway:
        for _ in range(2):
            await warming.hears(await warming.email("anna"), "accepted")
        waiting = await warming.email("anna", subject="another")

        async def is_a_problem():
            found = await run("status", code=None)
            return "is at its warm-up cap of 2 today: 1 wait until 00:00 UTC" in " ".join(found.split())

        await wait_until(is_a_problem)
        shown = " ".join((await run("status", code=1)).split())
        assert "warm-ups sendgrid-main: 2 of 2 used in this day, until" in shown
        assert "; it has begun" in shown
        timeline = " ".join((await run("messages", "show", waiting)).split())
        assert "sendgrid-main is at its warm-up cap of 2; a new day begins" in timeline
        figures = await gateway.metrics()
    assert figures["gatepost_warmup_cap", "sendgrid-main"] == 2
    assert figures["gatepost_warmup_used", "sendgrid-main"] == 2
    assert len(sendgrid.taken) == 2


async def test_a_restart_changes_nothing_and_a_reload_may_raise_the_cap(warming, sendgrid, run):
    async with warming.running(email=["sendgrid-main"]):
        for _ in range(2):
            await warming.hears(await warming.email("anna"), "accepted")
    async with warming.running(email=["sendgrid-main"]) as gateway:
        third = await warming.email("anna", subject="another")
        await gateway.waits("email", "queued")
        await asyncio.sleep(1.0)
        assert len(sendgrid.taken) == 2
        warming.tables["plugins.sendgrid-main"]["warmup"]["from"] = 3
        warming.write()
        assert "plugins.sendgrid-main.warmup" in await run("reload")
        await warming.hears(third, "accepted")
        fourth = await warming.email("anna", subject="another")
        warming.tables["plugins.sendgrid-main"]["warmup"]["from"] = 0
        warming.write()
        assert "plugins.sendgrid-main.warmup.from" in await run("reload", code=1)
        del warming.tables["plugins.sendgrid-main"]["warmup"]
        warming.write()
        await run("reload")
        await warming.hears(fourth, "accepted")


async def test_the_other_plugin_of_the_route_gets_the_rest(warming, sendgrid):
    warming.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    async with warming.running(email=["sendgrid-main", "box"]):
        for number in range(5):
            await warming.hears(await warming.email("anna", subject=f"number {number}"), "accepted")
    assert len(sendgrid.taken) == 2
