"""`gatepost status` beside a running gateway, and without one: what it shows, and when its exit code is 1."""

import asyncio
import json
import os
import signal
import sys

import pytest
from click.testing import CliRunner

from gatepost import __version__
from gatepost.callbacks import attempt as callback_attempt
from gatepost.cli import main
from gatepost.model import Secret
from gatepost.outbox import Policy, open_outbox
from gatepost.testing import emulator, smartico
from gatepost.upkeep.heartbeat import Heartbeat
from gatepost.web.admin import api
from gatepost.web.admin.api import Operation
from gatepost.web.admin.requests import StatusRequest


@pytest.fixture
def status(tmp_path):
    """Return a function that runs the command in a thread; it returns the JSON, or the text without line breaks."""

    def run(*options):
        return CliRunner().invoke(main, ["status", *options, "--config", str(tmp_path / "gatepost.toml")])

    async def in_thread(*, code=0, text=False):
        result = await asyncio.to_thread(run, *([] if text else ["--json"]))
        assert result.exit_code == code, result.output
        return " ".join(result.output.split()) if text else json.loads(result.output)

    return in_thread


async def test_a_gateway_without_work_is_fine(gateway, status):
    found = await status()
    assert (found["gateway"], found["problems"], found["store"]["waiting"]) == ("running", [], [])
    (plugin,), (source,) = found["process"]["plugins"], found["process"]["sources"]
    assert (plugin["instance"], plugin["state"], plugin["since_success"]) == ("box", "usable", None)
    assert (source["instance"], source["users"], source["problem"]) == ("players", 6, "")
    shown = await status(text=True)
    for part in (
        "Everything is fine. gateway running for",
        f"version {__version__} messages none waits plugins box: usable, 0 a minute, no success yet contacts",
        "players: 6 users; data ",
        "callbacks none waits store",
        "its growth is known after a day",
    ):
        assert part in shown


async def test_a_plugin_without_a_share_does_not_make_its_route_fine(
    deployment, sendgrid, status, wait_until
):
    sendgrid.failure = emulator.answer(429, {"Retry-After": "3600"})
    deployment.tables["[routes.email]"] = {"name": "all"}
    deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    deployment.tables["routes.email.split"] = {"sendgrid-main": 1, "box": 0}
    async with deployment.running() as gateway:
        await deployment.email()

        async def is_resting():
            return (await gateway.metrics())["gatepost_plugin_breaker", "sendgrid-main", "resting"]

        await wait_until(is_resting)
        found = await status(code=1)
        assert texts(found) == ["routes.email[1 all]: none of its plugins can send now"]


async def test_it_shows_what_waits_and_which_route_can_send_nothing(deployment, sendgrid, status, wait_until):
    sendgrid.failure = emulator.answer(429, {"Retry-After": "3600"})
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.email()
        await wait_until(lambda: resting(gateway))
        found = await status(code=1)
        assert texts(found) == ["routes.email: none of its plugins can send now"]
        (plugin,) = found["process"]["plugins"]
        assert (plugin["state"], 3500 < plugin["seconds"] <= 3600) == ("resting", True)
        (waiting,) = found["store"]["waiting"]
        assert [waiting[name] for name in ("channel", "route", "client", "messages", "held")] == [
            *("email", "email", "brand", 1, 0)
        ]
        shown = await status(code=1, text=True)
        assert "Look at this now: - routes.email: none of its plugins can send now its messages wait" in shown
        assert "sendgrid-main: resting for 60 min, failing for" in shown
        assert "no success yet: the provider answered 429" in shown
        assert "email, route email, client brand: 1 message" in shown
    without = await status(code=1)
    assert texts(without) == ["no gateway runs on this machine"]
    assert (without["process"], without["store"]["waiting"][0]["messages"]) == (None, 1)


def texts(found):
    # How late the event loop is depends on the machine.
    return [one["text"] for one in found["problems"] if one["kind"] != "lag"]


async def resting(gateway):
    return (await gateway.get("/health/ready"))[0] == 503


async def test_a_misconfigured_plugin_is_a_problem_although_another_one_sends(
    deployment, sendgrid, mailboxes, status
):
    sendgrid.failure = emulator.answer(401)
    async with deployment.running(email=["sendgrid-main", "relay"]) as gateway:
        await deployment.email()
        await gateway.settled()
        (problem,) = texts(await status(code=1))
        assert problem.startswith("plugins.sendgrid-main is misconfigured: ")


async def test_a_resting_plugin_is_no_problem_while_another_one_of_its_route_sends(
    deployment, sendgrid, mailboxes, status
):
    sendgrid.failure = emulator.answer(429, {"Retry-After": "3600"})
    async with deployment.running(email=["sendgrid-main", "relay"]) as gateway:
        await deployment.email()
        await gateway.settled()
        found = await status()
        assert {one["instance"]: one["state"] for one in found["process"]["plugins"]} == {
            "sendgrid-main": "resting",
            "relay": "usable",
        }


async def test_callbacks_that_were_given_up_are_a_problem(deployment, sendgrid, status, monkeypatch):
    monkeypatch.setattr(callback_attempt, "RETRY_DELAYS", ())
    deployment.crm.fail(smartico.answer(500), calls=None)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.email()
        await gateway.settled()
        found = await status(code=1)
        assert texts(found) == ["callbacks that were given up: 1"]
        (target,) = found["store"]["callbacks"]["targets"]
        assert (target["client"], target["waiting"], target["dead"]) == ("brand", 0, 1)
        assert f"{target['target']}, client brand: 0 wait, 1 given up" in await status(code=1, text=True)


async def test_a_held_message_is_a_problem(tmp_path, start, config, status):
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nlost,lost.me@players.example,\n")
    hold = '\n[delivery]\nuncertain_wait = 0.01\nuncertain = "hold"\n'
    async with start(tmp_path, config + hold) as gateway:
        await gateway.email(ext_user_id="lost")
        await gateway.waits("email", "held")
        assert texts(await status(code=1)) == ["held messages: 1"]
        assert "1 message, 1 held" in await status(code=1, text=True)


async def test_pauses_in_force_are_shown(gateway, status):
    options = "--client", "brand", "--channel", "sms", "--reason", "a wrong campaign"
    config = "--config", str(gateway.folder / "gatepost.toml")
    result = await asyncio.to_thread(CliRunner().invoke, main, ["pause", *options, *config])
    assert result.exit_code == 0, result.output
    (pause,) = (await status())["store"]["pauses"]
    assert (pause["scope"], pause["reason"]) == ({"client": "brand", "channel": "sms"}, "a wrong campaign")
    shown = await status(text=True)
    assert "pauses client brand, channel sms paused until it is resumed, since 2" in shown
    assert ": a wrong campaign store" in shown


async def test_a_store_that_refuses_writes_is_a_problem(gateway, status, monkeypatch):
    monkeypatch.setattr("gatepost.outbox.Outbox.is_failing", True)
    (problem,) = texts(await status(code=1))
    assert problem.startswith("the store refuses writes")


async def test_a_store_that_can_not_be_read_is_a_problem_and_the_rest_is_shown(gateway, status, monkeypatch):
    def broken(*_):
        raise OSError

    monkeypatch.setattr("gatepost.cli.status.overview", broken)
    found = await status(code=1)
    assert texts(found) == ["the store can't be reached (OSError)"]
    assert found["store"] is None
    assert [one["instance"] for one in found["process"]["plugins"]] == ["box"]
    assert "box: usable" in await status(code=1, text=True)


async def test_on_postgresql_a_gateway_on_another_machine_is_no_problem(
    tmp_path, config, status, postgres_server
):
    url = postgres_server.new_database()
    (tmp_path / "gatepost.toml").write_text(f'{config}\n[store]\nurl = "{url}"\n')
    async with open_outbox(Secret(url), tmp_path, Policy()) as outbox:
        assert texts(await status(code=1)) == ["no gateway runs on this machine"]
        heartbeat = Heartbeat(outbox, lambda: 0.0)
        await heartbeat.beat()
        found = await status()
        assert (found["gateway"], found["problems"]) == ("no gateway runs on this machine", [])
        (replica,) = found["store"]["replicas"]
        assert replica["version"] == __version__
        await heartbeat.stop()
        assert texts(await status(code=1)) == ["no gateway runs on this machine"]


async def test_a_gateway_is_seen_while_it_runs_and_forgotten_when_it_stops(tmp_path, start, config, status):
    async with start(tmp_path, config):
        (replica,) = (await status())["store"]["replicas"]
        assert replica["host"]
    assert (await status(code=1))["store"]["replicas"] == []


async def test_watching_needs_a_terminal(tmp_path, gateway):
    options = "status", "--watch", "--config", str(tmp_path / "gatepost.toml")
    result = await asyncio.to_thread(CliRunner().invoke, main, options)
    assert (result.exit_code, "--watch needs a terminal" in result.output) == (1, True)


async def test_watching_is_not_for_programs(tmp_path, gateway):
    options = "status", "--watch", "--json", "--config", str(tmp_path / "gatepost.toml")
    result = await asyncio.to_thread(CliRunner().invoke, main, options)
    assert (result.exit_code, "give one of them" in result.output) == (2, True)


@pytest.mark.parametrize("trouble", [False, True])
async def test_watching_ends_with_the_exit_code_of_the_last_view(tmp_path, gateway, monkeypatch, trouble):
    monkeypatch.setattr("gatepost.outbox.Outbox.is_failing", trouble)
    terminal, its_end = os.openpty()
    arguments = "-m", "gatepost", "status", "--watch", "--config", str(tmp_path / "gatepost.toml")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments), stdin=its_end, stdout=its_end, stderr=its_end
    )
    os.close(its_end)
    shown = await asyncio.to_thread(read_until, terminal, b"Ctrl-C ends", b"callbacks", b"store")
    assert (b"Everything is fine" in shown) is not trouble
    process.send_signal(signal.SIGINT)
    # On the ordinary screen, where it stays.
    after = await asyncio.to_thread(read_until, terminal, LEAVE_SCREEN, b"callbacks", b"store")
    assert await process.wait() == int(trouble)
    assert b"Traceback" not in after
    os.close(terminal)


LEAVE_SCREEN = b"\x1b[?1049l"


def read_until(terminal, *parts):
    """Read from a terminal until these parts have come, one after the other."""
    shown = b""
    for part in parts:
        while part not in shown[shown.find(parts[0]) :]:
            shown += os.read(terminal, 65_536)
    return shown


async def test_a_gateway_of_another_version_is_named(gateway, status, monkeypatch):
    async def another_status(*_):
        return {"version": "9.0"}

    operation = Operation(StatusRequest, another_status)
    monkeypatch.setitem(api.OPERATIONS, "status", operation)
    assert texts(await status(code=1)) == ["the gateway that runs is of another version than this command"]
