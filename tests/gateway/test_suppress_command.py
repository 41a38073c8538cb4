"""`gatepost suppress` beside a running gateway, and without one."""

import asyncio
import functools
import json
from datetime import datetime, timedelta

import pytest
import structlog
from click.testing import CliRunner

from gatepost.cli import main
from gatepost.web.admin import suppressions

USER = "anna@players.example"
"""An ext_user_id that looks like an address."""


@pytest.fixture
def run(run):
    """Return a function that runs a subcommand of ``suppress``."""
    return functools.partial(run, "suppress")


@pytest.fixture
def gateway(tmp_path, start):
    (tmp_path / "contacts.csv").write_text(
        f"ext_user_id,email,phone\nanna,ella@players.example,+447700900100\n{USER},eve@players.example,\n"
    )
    return lambda: start(tmp_path)


async def listed(run, *arguments):
    return json.loads(await run("list", "--json", *arguments))


async def test_a_suppressed_user_is_refused_until_the_suppression_is_removed(gateway, run):
    async with gateway() as running:
        first = await running.email("uid-1")
        assert "anna of brand is suppressed without an end" in await run("add", "anna", "--reason", "by mail")
        assert (await running.email("uid-1")) == first
        answer = await running.email("uid-2")
        assert answer == {"error_code": 13, "error_message": "the user must not be contacted (by mail)"}
        assert (await running.sms("uid-2"))["error_code"] == 13
        assert "is no longer suppressed" in await run("remove", "anna", "--client", "brand")
        assert (await running.email("uid-2"))["error_code"] == 0


async def test_the_store_is_changed_when_no_gateway_runs(gateway, run):
    async with gateway():
        pass
    await run("add", "anna")
    async with gateway() as running:
        assert (await running.email())["error_code"] == 13
    await run("remove", "anna")
    async with gateway() as running:
        assert (await running.email())["error_code"] == 0


async def test_the_list_shows_who_is_suppressed_why_by_whom_and_until_when(gateway, run):
    async with gateway():
        assert "No user is suppressed." in await run("list")
        await run("add", "bob", "--reason", "closed", "--until", "2100-01-31T09:00Z")
        await run("add", "anna", "--until", "2d")
        anna, bob = await listed(run)
        assert (bob["client"], bob["ext_user_id"], bob["reason"]) == ("brand", "bob", "closed")
        assert bob["ends_at"] == "2100-01-31T09:00:00.000Z"
        created, end = (datetime.fromisoformat(anna[name]) for name in ("created_at", "ends_at"))
        assert timedelta(days=1) < end - created < timedelta(days=3)
        assert bob["actor"]
        text = await run("list", "--user", "bob")
        assert "brand  bob  until 2100-01-31T09:00:00.000Z, by" in text
        assert "anna" not in text
        assert await listed(run, "--client", "other") == []
        assert "The newest 1; --limit shows more." in await run("list", "--limit", "1")


async def test_changes_are_in_the_audit_log(gateway, run, tmp_path):
    async with gateway():
        await run("add", "anna", "--reason", "by mail")
        await run("remove", "anna", "--reason", "asked again")
        await run("remove", "anna", code=1)

    arguments = ["audit", "list", "--json", "--config", str(tmp_path / "gatepost.toml")]
    output = (await asyncio.to_thread(CliRunner().invoke, main, arguments)).output
    removed, added = json.loads(output)
    assert [(one["operation"], one["reason"]) for one in (removed, added)] == [
        ("suppress-remove", "asked again"),
        ("suppress-add", "by mail"),
    ]
    # By a hash, because the user may be forgotten later.
    assert removed["target"] == added["target"]
    assert added["target"].keys() == {"client", "user"}
    assert len(added["target"]["user"]) == 64


async def test_an_id_that_looks_like_an_address_is_never_logged(gateway, run, capfd, monkeypatch):
    # While a command runs in this process, its output takes the place of the log's.
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(suppressions, "_log", log)
    async with gateway() as running:
        await run("add", USER)
        assert (await running.email(ext_user_id=USER))["error_code"] == 13
        await run("remove", USER)
        assert (await running.email(ext_user_id=USER))["error_code"] == 0
    assert [(call.args, call.kwargs) for call in log.calls] == [
        (("user_suppressed",), {"client": "brand"}),
        (("user_no_longer_suppressed",), {"client": "brand"}),
    ]
    assert USER not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["anna", "--client", "brnad"], "the configuration in use has no client brnad; it has brand"),
        (["anna", "--until", "2020-01-01"], "this moment has passed"),
        (["anna", "--until", "0d"], "this moment has passed"),
        (["anna", "--until", "soon"], "give a date"),
        (["anna", "--reason", ""], "--reason must be a text of 1 to 64 characters"),
        (["anna", "--reason", "x" * 65], "--reason must be a text of 1 to 64 characters"),
        (
            ["anna", "--reason", "two\nlines"],
            "a reason must be a text of at most 200 characters, on one line",
        ),
        (["anna", "--reason", "write to eve@players.example"], "looks like it holds an address"),
        (["anna", "--reason", "calls +447700900123"], "looks like it holds an address"),
        ([""], "USER must have 1 to 512 characters"),
        (["x" * 513], "USER must have 1 to 512 characters"),
    ],
)
async def test_bad_input_is_refused_and_changes_nothing(gateway, run, arguments, problem):
    async with gateway():
        output = " ".join((await _fails(run, arguments)).replace("│", " ").split())
        assert problem in output
        assert await listed(run) == []


async def _fails(run, arguments):
    try:
        return await run("add", *arguments, code=2)
    except AssertionError:
        return await run("add", *arguments, code=1)


async def test_the_client_must_be_named_if_there_are_several(gateway, run, tmp_path):
    async with gateway():
        path = tmp_path / "gatepost.toml"
        path.write_text(path.read_text() + "\n[clients.other]\n")
        assert "name the client with --client; there are: brand, other" in await run("add", "anna", code=1)
        # The file has it, the running gateway does not.
        assert "the configuration in use has no client" in await run(
            "add", "anna", "--client", "other", code=1
        )
