"""The pages on which operators steer a real gateway: plugins and pauses, callbacks, and the audit log."""

import asyncio
import json
import sqlite3

import pytest
from click.testing import CliRunner

from console_browser import Console
from gatepost.cli import main


@pytest.fixture
async def console(deployment, sendgrid, begin, wait_until):
    """Return a console whose gateway runs, with the operator maria and the viewer vera."""
    deployment.tables["console"] = {"listen": "127.0.0.1:0"}
    process, _ = await begin(email=["sendgrid-main"])
    await wait_until(lambda: "console_listening" in process.log.read_text())
    console = Console(process)
    for name, role in (("maria", "operator"), ("vera", "viewer")):
        await console.run("add-user", name, "--role", role)
    return console


def events(console, *names):
    lines = [
        json.loads(line) for line in console.process.log.read_text().splitlines() if line.startswith("{")
    ]
    return [line for line in lines if line["event"] in names]


async def gatepost(console, *arguments, code=0):
    """Run a command beside the gateway; return what it printed."""
    arguments = [*arguments, "--config", str(console.process.config)]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == code, result.output
    return result.output


async def test_the_audit_log_is_verified_with_the_heads_of_the_log(console, wait_until):
    """The log has a head at the start and one for each entry; a cut tail is found by them alone."""
    at_start, first, second = events(console, "audit_head", "audit_appended")
    assert at_start["seq"] == 0
    assert [(one["seq"], one["operation"]) for one in (first, second)] == [
        (1, "console-user-add"),
        (2, "console-user-add"),
    ]
    heads = [f"--head={one['seq']}:{one['hash']}" for one in (at_start, first, second)]
    assert await gatepost(console, "audit", "verify", *heads) == (
        f"The audit log is whole: 2 entries, the head is 2:{second['hash']}\n"
    )

    with sqlite3.connect(console.process.config.parent / "gatepost.db") as store:
        store.execute("DELETE FROM audit WHERE seq = 2")
        store.execute("UPDATE audit_head SET seq = 1, hash = ?", [first["hash"]])
    assert "whole: 1 entry," in await gatepost(console, "audit", "verify")
    text = await gatepost(console, "audit", "verify", *heads, code=1)
    assert "entry 2 is missing" in text
    assert "First wrong entry: 2. Before it 1 entry can be trusted." in text


@pytest.mark.parametrize("head", ["", "1", "1:abc", "x:" + "0" * 64, "1:" + "g" * 64, "-1:" + "0" * 64])
async def test_what_is_no_head_is_refused(console, head):
    assert "as SEQ:HASH" in await gatepost(console, "audit", "verify", "--head", head, code=2)
