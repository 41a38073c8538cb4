"""Reloads of a running gateway: it takes over a changed configuration as a whole, or keeps the old one and says why."""

import asyncio
import json
import os
import signal

import msgspec
import pytest

from gatepost.app import examine, load, open_gateway
from gatepost.testing import emulator
from gatepost.web.admin.services import OperationRefused
from gateway.conftest import needs_hangups, sms, until


@pytest.fixture
def box(deployment):
    """A provider that never leaves the machine, as the instance ``box``."""
    deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    return deployment


def change(deployment, table, **keys):
    """Change keys of a table in the configuration file; None removes one."""
    merged = {**deployment.tables.get(table, {}), **keys}
    deployment.tables[table] = {key: value for key, value in merged.items() if value is not None}
    deployment.write()


async def test_a_changed_secret_counts_from_the_reload_on(box, run):
    async with box.running(sms=["box"]) as gateway:
        change(box, "clients.brand", authorization=["the-new-secret"])
        assert (await gateway.sms("one"))["error_code"] == 0

        output = await run("reload")

        assert "Taken over: 1 key has changed." in output
        assert "clients.brand.authorization: [(secret)] -> [(another secret)]" in output
        assert (await gateway.sms("two"))["error_code"] == 3
        assert (await gateway.post("/sms", sms("two"), secret="the-new-secret"))["error_code"] == 0
        await gateway.settled()


async def test_a_secret_in_a_file_is_read_again(box, run, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the-secret\n")
    box.tables["clients.brand"]["authorization"] = ["file:secret"]
    async with box.running(sms=["box"]) as gateway:
        secret.write_text("the-new-secret\n")
        await run("reload")
        assert (await gateway.post("/sms", sms(), secret="the-new-secret"))["error_code"] == 0


async def test_the_command_need_not_be_able_to_read_the_url_of_the_store(box, run, tmp_path):
    """systemd shows credentials to the gateway alone, and not to the command that lets it reload."""
    url = tmp_path / "store-url"
    url.write_text("sqlite:///gatepost.db")
    box.tables["store"] = {"url": "file:store-url"}
    box.tables["server"]["admin_socket"] = "gateway.sock"
    async with box.running(sms=["box"]):
        url.unlink()
        output = await run("reload", code=1)

    assert "store.url" in output
    # The gateway has answered.
    assert "Nothing was taken over" in output


@needs_hangups
async def test_a_signal_does_the_same_and_the_log_says_so(box, begin):
    process, gateway = await begin(sms=["box"])
    change(box, "clients.brand", sms_max_parts=1)
    os.kill(process.pid, signal.SIGHUP)
    await until(lambda: '"event": "reloaded"' in process.log.read_text())
    assert '"keys": ["clients.brand.sms_max_parts"]' in process.log.read_text()
    assert (await gateway.sms(body="x" * 200))["error_code"] == 14

    change(box, "clients.brand", sms_max_parts=-1)
    os.kill(process.pid, signal.SIGHUP)
    await until(lambda: '"event": "reload_refused"' in process.log.read_text())
    assert (await gateway.sms(body="x" * 200))["error_code"] == 14
    # It is the old one that still runs, and it ends as ever.
    assert await asyncio.to_thread(process.terminate) == 0


async def test_a_file_with_faults_changes_nothing_and_every_fault_is_named(box, run):
    async with box.running(sms=["box"]) as gateway:
        change(box, "clients.brand", authorization=["the-new-secret"], sms_max_parts="many")
        change(box, "plugins.box", folder=None, folderr="box")

        await run("reload", code=1)
        output = await run("config", "--diff", code=1)

        assert "clients.brand.sms_max_parts: expected a whole number" in output
        assert "plugins.box.folderr" in output
        assert "Nothing was taken over: the gateway goes on with the configuration that it has." in output
        assert (await gateway.sms())["error_code"] == 0
        await gateway.settled()


async def test_a_file_that_is_no_toml_changes_nothing(box, run):
    async with box.running(sms=["box"]) as gateway:
        path = box.folder / "gatepost.toml"
        path.write_text(path.read_text() + "\n[clients")
        assert "is not TOML" in await run("reload", code=1)
        assert (await gateway.sms())["error_code"] == 0


async def test_a_plugin_that_can_not_open_changes_nothing(box, run):
    async with box.running(sms=["box"]) as gateway:
        change(box, "plugins.players", path="missing.csv")
        change(box, "clients.brand", authorization=["the-new-secret"])
        output = await run("reload", code=1)
        assert "plugins.players.path" in output
        assert (await gateway.sms())["error_code"] == 0
        await gateway.settled()
        # The old source goes on too, and the file can be mended.
        change(box, "plugins.players", path="contacts.csv")
        await run("reload")
        assert (await gateway.post("/sms", sms("two"), secret="the-new-secret"))["error_code"] == 0


@pytest.mark.parametrize(
    ("table", "keys", "named"),
    [
        ("server", {"port": 1}, "server.port: can't change while the gateway runs: restart it"),
        ("server", {"host": "127.0.0.2"}, "server.host"),
        ("store", {"url": "sqlite:///./gatepost.db", "content_keys": None}, None),
        ("logs", {"level": "info"}, "logs.level"),
        ("console", {"listen": "127.0.0.1:0"}, "console.listen"),
    ],
)
async def test_what_only_a_restart_changes_is_named(box, run, table, keys, named):
    async with box.running(sms=["box"]):
        change(box, table, **keys)
        if named is None:
            # Another way to write the same file: still a change of the key.
            named = "store.url"
        assert named in await run("reload", code=1)


async def test_the_difference_is_shown_before_and_changes_nothing(box, run):
    async with box.running(sms=["box"]) as gateway:
        assert await run("config", "--diff") == "Nothing has changed.\n"
        change(box, "clients.brand", sms_max_parts=1)
        change(box, "clients.other", authorization=["another"], allow_ips=["127.0.0.1"])
        change(box, "contacts", shared=True)

        output = await run("config", "--diff")

        assert "clients.brand.sms_max_parts: 0 -> 1" in output
        assert 'clients.other.allow_ips: (not set) -> ["127.0.0.1/32"]' in output
        assert "clients.other.authorization: (not set) -> [(secret)]" in output
        assert (await gateway.sms(body="x" * 200))["error_code"] == 0


async def test_values_of_the_environment_are_named(box, run, monkeypatch):
    monkeypatch.setenv("BRAND_SECRET", "the-secret")
    box.tables["clients.brand"]["authorization"] = ["env:BRAND_SECRET"]
    async with box.running(sms=["box"]):
        assert "stay as they were at the start of the gateway: BRAND_SECRET" in await run("reload")


async def test_what_is_in_hand_goes_on_with_what_it_has(box, sendgrid, run, wait_until):
    """A message is at a provider that the new configuration no longer has; its status is still told."""
    sendgrid.failure = emulator.delay(1.0)
    async with box.running(email=["sendgrid-main"]) as gateway:
        old = await box.email()
        await wait_until(lambda: len(sendgrid.requests) == 1)
        del box.tables["plugins.sendgrid-main"]
        change(box, "routes", email=["box"])

        await run("reload")

        new = await box.email()
        await box.hears(new, "accepted")
        await box.hears(old, "accepted")
        await gateway.settled()
    assert sendgrid.sends(old) == 1
    assert sendgrid.sends(new) == 0


async def test_a_plugin_that_did_not_change_stays_as_it_is(box, sendgrid, run):
    """Its rest goes on: a reload is no way to hammer a provider that is down."""
    async with box.running(email=["sendgrid-main"]) as gateway:
        sendgrid.failure = emulator.answer(401)
        await box.email()
        await until(lambda: _misconfigured(gateway))
        change(box, "clients.brand", sms_max_parts=1)
        await run("reload")
        assert await _misconfigured(gateway)

        # Its own key was the cause, and a changed one is tried at once.
        sendgrid.failure = emulator.NO_FAILURE
        change(box, "plugins.sendgrid-main", timeout=9)
        await run("reload")
        assert not await _misconfigured(gateway)
        await gateway.settled()


async def _misconfigured(gateway):
    metrics = await gateway.metrics()
    return metrics["gatepost_plugin_breaker", "sendgrid-main", "misconfigured"]


async def test_clients_come_and_go_and_counters_go_on(box, run):
    async with box.running(sms=["box"]) as gateway:
        await gateway.sms("one")
        change(box, "clients.other", authorization=["another"], allow_ips=["127.0.0.1"])
        change(box, "contacts", shared=True)
        await run("reload")
        assert (await gateway.post("/sms", sms("one"), secret="another"))["error_code"] == 0
        metrics = await gateway.metrics()
        assert metrics["gatepost_answers_total", "sms", "brand", "0"] == 1
        assert metrics["gatepost_answers_total", "sms", "other", "0"] == 1
        await gateway.settled()

        del box.tables["clients.other"]
        box.write()
        await run("reload")
        assert (await gateway.post("/sms", sms("two"), secret="another"))["error_code"] == 3
        assert (await gateway.sms("two"))["error_code"] == 0
        await gateway.settled()


async def test_callbacks_use_the_new_key(box, run):
    crm = box.crm
    async with box.running(sms=["box"]) as gateway:
        crm.api_key = "the-new-api-key"
        change(box, "clients.brand", callback_api_key="the-new-api-key")
        await run("reload")
        await box.hears(await box.sms(), "accepted")
        await gateway.settled()


async def test_a_reload_is_in_the_audit_log_with_its_keys(box, run):
    async with box.running(sms=["box"]):
        change(box, "clients.brand", sms_max_parts=1)
        await run("reload")
        (entry,) = json.loads(await run("audit", "list", "--json"))
        assert (entry["operation"], entry["target"]) == ("reload", {"keys": ["clients.brand.sms_max_parts"]})


async def test_several_at_once_come_one_after_the_other(box, run):
    async with box.running(sms=["box"]) as gateway:
        change(box, "clients.brand", sms_max_parts=1)
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGHUP)
        output = await run("reload")
        assert "Nothing has changed." in output or "Taken over: 1 key has changed." in output
        assert (await gateway.sms(body="x" * 200))["error_code"] == 14


async def test_a_gateway_that_stops_takes_over_nothing(box):
    """Neither before its plugins are opened, nor when it has begun to stop meanwhile."""
    box.tables["routes"]["sms"] = ["box"]
    path = box.write()
    async with open_gateway(*load(path)) as gateway:
        change(box, "plugins.box", timeout=9)
        settings, instances, faults = examine(path, gateway.instances, gateway.settings)
        assert faults == []
        gateway.stop()
        with pytest.raises(OperationRefused, match="the gateway stops"):
            await gateway.take_over(settings, instances)
        assert gateway.settings.plugins["box"].timeout == 10
        with pytest.raises(OperationRefused, match="the gateway stops"):
            await gateway.admin.reload("test", dry=False)


async def test_without_a_gateway_there_is_nothing_to_reload(box, run):
    box.write()
    assert "no gateway" in await run("reload", code=1)


async def test_reloads_under_load_refuse_and_lose_nothing(box, run, tmp_path):
    """Each reload changes the secrets, the plugin that sends and the contacts; see `make torture` for a thousand."""
    rounds = 12
    secrets = [f"secret-{number}" for number in range(rounds + 1)]
    box.tables["plugins.spare"] = {"use": "sandbox", "folder": "spare"}
    # As an operator rotates them: the one in use and the next.
    box.tables["clients.brand"]["authorization"] = secrets[:2]
    current, sent, refused = [secrets[0]], 0, []
    using = {}
    """The secret of the request of each client."""

    async with box.running(sms=["box"]) as gateway:
        done = asyncio.Event()

        async def load(name):
            nonlocal sent
            number = 0
            while not done.is_set():
                using[name] = current[0]
                answer = await gateway.post("/sms", sms(f"{name}-{number}"), secret=using[name])
                number += 1
                sent += 1
                if answer["error_code"]:
                    refused.append(answer)

        clients = [asyncio.create_task(load(name)) for name in range(4)]
        for number in range(1, rounds):
            current[0] = secrets[number]
            # The old secret is removed after the last request with it, as an operator would do it.
            await until(lambda: list(using.values()) == 4 * current)
            change(box, "clients.brand", authorization=secrets[number : number + 2])
            change(box, "routes", sms=[("box", "spare")[number % 2]])
            change(box, "plugins.spare", timeout=10 + number)
            change(box, "plugins.players", check_every=0.02 + number / 1000)
            await run("reload")
        done.set()
        await asyncio.gather(*clients)
        await gateway.settled()
        metrics = await gateway.metrics()
    assert refused == []
    assert metrics["gatepost_answers_total", "sms", "brand", "0"] == sent
    boxes = [[*(tmp_path / name).glob("**/*.json")] for name in ("box", "spare")]
    taken = [msgspec.json.decode(file.read_bytes())["id"] for files in boxes for file in files]
    assert all(boxes)
    assert len(taken) == len(set(taken)) == sent
