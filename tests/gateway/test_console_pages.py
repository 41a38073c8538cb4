"""The console's pages beside real traffic: what a real process sent is on them a moment later."""

import asyncio

import pytest
from click.testing import CliRunner

from console_browser import Console
from gatepost.cli import main


@pytest.fixture
async def console(deployment, sendgrid, begin, wait_until):
    deployment.tables["console"] = {"listen": "127.0.0.1:0"}
    process, _ = await begin(email=["sendgrid-main"])
    await wait_until(lambda: "console_listening" in process.log.read_text())
    console = Console(process)
    await console.run("add-user", "maria", "--role", "operator")
    return console


async def test_what_was_sent_is_on_the_overview_and_in_the_statistics(deployment, sendgrid, console):
    message = await deployment.email()
    await deployment.hears(message, "accepted")
    async with console.browser("maria") as browser:
        status, text = await browser.get("/stats?by=client,plugin&period=24h")
        assert status == 200
        assert "sendgrid-main" in text
        _, page_csv = await browser.get("/stats.csv?by=client,plugin&period=24h")
        options = [
            "--by",
            "client,plugin",
            "--since",
            "24h",
            "--csv",
            "--config",
            str(console.process.config),
        ]
        command = await asyncio.to_thread(CliRunner().invoke, main, ["stats", *options])
        assert page_csv.splitlines() == command.stdout.splitlines()
        assert page_csv.splitlines()[1].startswith("brand,sendgrid-main,,1,")


async def test_the_overview_refreshes_itself_and_draws_with_files_of_its_own(console):
    async with console.browser("maria") as browser:
        status, text = await browser.get("/", headers={"HX-Request": "true"})
        assert status == 200
        assert 'hx-trigger="every 5s"' in text
        for name in ("charts.js", "uPlot.iife.min.js", "uPlot.min.css"):
            assert f"/static/{name}" in text
            assert (await browser.get(f"/static/{name}"))[0] == 200
