"""A whole gateway tells its receivers of a plugin that is misconfigured, and keeps the users out of it."""

import asyncio
import json

import pytest
from aiohttp import web
from click.testing import CliRunner

from gatepost.alerts import changes, loop
from gatepost.cli import main
from gatepost.testing import emulator
from gatepost.testing.serving import serving

ADDRESS = "canary.zq7x@telling-zq7x.example"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(loop, "LOOK_INTERVAL", 0.05)
    monkeypatch.setattr(loop, "DIGEST_WAIT", 0.0)
    monkeypatch.setattr(loop, "MIN_INTERVAL", 0.0)
    monkeypatch.setattr(changes, "SETTLE", 0.0)


@pytest.fixture
async def alerts(deployment, monkeypatch):
    """Return the messages that a receiver has taken; the configuration names its URL in the environment."""
    messages = []

    async def take(request):
        messages.append(json.loads(await request.read()))
        if deployment.alert_status is None:
            await asyncio.Event().wait()
        return web.Response(status=deployment.alert_status)

    deployment.alert_status = 200
    async with serving(web.Server(take)) as url:
        monkeypatch.setenv("ALERT_URL", url.replace("http://", "json://") + "/vorpal-blade")
        deployment.tables["alerts"] = {"notify": ["env:ALERT_URL"]}
        yield messages


async def test_a_wrong_key_is_told_without_the_user(deployment, sendgrid, alerts, wait_until, capfd):
    deployment.contacts = f"ext_user_id,email,phone\ncanary-user,{ADDRESS},\n"
    sendgrid.failure = emulator.answer(401)
    async with deployment.running(email=["sendgrid-main"]):
        await deployment.email("canary-user", email_uid="canary-uid", subject="canary-subject")
        await wait_until(lambda: "plugins.sendgrid-main is misconfigured" in str(alerts))

    for private in ("canary", "zq7x", "vorpal", "the-secret", sendgrid.api_key):
        assert private not in str(alerts)
    logged = capfd.readouterr().err
    assert "loop_blocked" not in logged
    assert "vorpal" not in logged


@pytest.mark.parametrize("status", [500, None], ids=["fails", "hangs"])
async def test_a_receiver_that_does_not_work_delays_no_message(
    deployment, sendgrid, alerts, wait_until, status
):
    deployment.alert_status = status
    sendgrid.failure = emulator.answer(401)
    deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    async with deployment.running(email=["sendgrid-main", "box"]):
        await deployment.email()
        await wait_until(lambda: alerts)
        message = await deployment.email()
        await deployment.hears(message, "accepted")


@pytest.mark.parametrize(("status", "code"), [(200, 0), (500, 1)])
async def test_check_live_sends_a_test(deployment, alerts, status, code):
    deployment.alert_status = status
    deployment.write()
    path = str(deployment.folder / "gatepost.toml")

    async def check(*options):
        result = await asyncio.to_thread(CliRunner().invoke, main, ["check", "--config", path, *options])
        assert "vorpal" not in result.output
        return result.exit_code, " ".join(result.output.split())

    found, output = await check()
    assert (found, alerts) == (0, [])
    assert "✓ alerts: go to json" in output

    found, output = await check("--live")
    assert found == code
    assert [one["title"] for one in alerts] == ["Gatepost: a test"]
    if status == 200:
        assert "✓ alerts: entry 1 (json) has taken a test message" in output
    else:
        assert "✗ alerts.notify: entry 1 (json) got no test message: it was not taken" in output


async def test_a_url_that_would_run_a_program_stops_the_start(deployment, monkeypatch):
    monkeypatch.setenv("ALERT_URL", "macosx://vorpal-blade")
    deployment.tables["alerts"] = {"notify": ["env:ALERT_URL"]}
    deployment.write()
    path = str(deployment.folder / "gatepost.toml")
    result = await asyncio.to_thread(CliRunner().invoke, main, ["check", "--config", path])
    assert result.exit_code == 1
    assert "alerts.notify: entry 1 has the scheme macosx, which starts programs" in " ".join(
        result.output.split()
    )
    assert "vorpal" not in result.output
