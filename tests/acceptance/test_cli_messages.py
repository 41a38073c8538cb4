"""`gatepost messages` and `gatepost send` beside a running gateway, and without one."""

import asyncio
import json
import logging
import sqlite3
import stat
from contextlib import closing

import pytest
import structlog
from click.testing import CliRunner

from gatepost import control, logs, settings
from gatepost.cli import main
from gatepost.statuses import State
from gatepost.testing.smartico import Smartico


@pytest.fixture(autouse=True)
def quiet_gateway(monkeypatch):
    """It shares the process with the command, whose output is looked at."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def run(tmp_path):
    """Run the command in a thread: the gateway lives on this test's loop."""

    def run(*arguments, **options):
        return CliRunner().invoke(main, [*arguments, "--config", str(tmp_path / "gatepost.toml")], **options)

    async def in_thread(*arguments, code=0, **options):
        result = await asyncio.to_thread(run, *arguments, **options)
        assert result.exit_code == code, result.output
        return result.output

    return in_thread


@pytest.fixture
def config(config):
    """Messages whose answer is lost are held at once, and there is a number that loses it."""
    return config + '\n[delivery]\nuncertain_wait = 0.01\nuncertain = "hold"\n'


async def until(look, wanted):
    async with asyncio.timeout(60):
        while (seen := await look()) != wanted:  # noqa: ASYNC110  nobody tells us
            await asyncio.sleep(0.05)
    return seen


async def listed(run, *arguments):
    return json.loads(await run("messages", "list", "--json", *arguments))


async def held_message(gateway, run):
    """A message that is held, because the sandbox loses its answer."""
    contacts = gateway.folder / "contacts.csv"
    assert "lost" in contacts.read_text()
    answer = await gateway.email("uid-lost", ext_user_id="lost")
    await until(lambda: _state(run, answer["ext_message_id"]), State.HELD)
    return answer["ext_message_id"]


async def _state(run, identity):
    return json.loads(await run("messages", "show", identity, "--json"))["state"]


@pytest.fixture
async def gateway(tmp_path, start, config):
    (tmp_path / "contacts.csv").write_text(
        "ext_user_id,email,phone\nanna,anna@players.example,+447700900100\n"
        "lost,lost.me@players.example,\nreject,reject.me@players.example,\n"
    )
    async with start(tmp_path, config) as gateway:
        yield gateway


async def test_a_message_is_found_by_every_id_that_anybody_has(gateway, run):
    identity = (await gateway.email("uid-1"))["ext_message_id"]
    await until(lambda: _state(run, identity), State.SENT)

    by_id = json.loads(await run("messages", "show", identity, "--json"))
    by_uid = json.loads(await run("messages", "show", "uid-1", "--json"))
    by_provider = json.loads(await run("messages", "show", by_id["provider_id"], "--json"))

    assert by_id == by_uid == by_provider
    assert by_id["id"] == identity
    assert [status["status"] for status in by_id["statuses"]] == ["accepted"]
    shown = await run("messages", "show", identity)
    for word in (identity, "uid-1", "brand", "anna", "sent", "box", "erased", "accepted"):
        assert word in shown
    assert "players.example" not in shown


async def test_an_id_that_nobody_knows_is_no_traceback(gateway, run):
    assert "no message is known by never\\x1b[31m" in await run("messages", "show", "never\x1b[31m", code=1)


async def test_the_list_is_of_the_states_that_were_asked_for(gateway, run):
    sent = (await gateway.email("uid-1"))["ext_message_id"]
    refused = (await gateway.email("uid-2", ext_user_id="reject"))["ext_message_id"]
    await until(lambda: _state(run, sent), State.SENT)
    await until(lambda: _state(run, refused), State.REJECTED)

    assert [one["id"] for one in await listed(run)] == [refused, sent]
    assert [one["id"] for one in await listed(run, "sent")] == [sent]
    assert [one["id"] for one in await listed(run, "rejected", "failed")] == [refused]
    assert [one["id"] for one in await listed(run, "--limit", "1")] == [refused]
    assert await listed(run, "--dead") == []
    text = await run("messages", "list", "rejected")
    assert refused in text
    assert "the sandbox refuses this recipient" in text
    assert "There is none" in await run("messages", "list", "held")


async def test_the_list_is_of_the_channel_the_client_and_the_user_that_were_asked_for(gateway, run):
    mail = (await gateway.email("uid-1"))["ext_message_id"]
    text = (await gateway.sms("uid-1"))["ext_message_id"]

    assert [one["id"] for one in await listed(run, "--channel", "sms")] == [text]
    assert [one["id"] for one in await listed(run, "--user", "anna", "--client", "brand")] == [text, mail]
    assert await listed(run, "--user", "somebody") == await listed(run, "--client", "other") == []


async def test_an_id_of_several_messages_is_nobodys(gateway, run):
    mail = (await gateway.email("uid-1"))["ext_message_id"]
    text = (await gateway.sms("uid-1"))["ext_message_id"]
    await until(lambda: _state(run, mail), State.SENT)
    await until(lambda: _state(run, text), State.SENT)

    for command in ("show", "retry"):
        said = await run("messages", command, "uid-1", code=1)
        assert "uid-1 is the id of several messages" in said
        assert f"{mail}  email of brand, sent" in said
        assert f"{text}  sms of brand, sent" in said


async def test_a_running_gateway_sends_a_held_message_again(gateway, run):
    identity = await held_message(gateway, run)
    assert len(list((gateway.folder / "box").glob(f"{identity}*"))) == 1

    assert "queued again" in await run("messages", "retry", identity)

    await until(lambda: _mails(gateway, identity), 2)


async def test_all_that_is_held_is_sent_again_when_the_operator_says_yes(gateway, run):
    identity = await held_message(gateway, run)

    assert "Try 1 message again?" in await run("messages", "retry", "--held", input="n\n", code=1)
    assert await _state(run, identity) == State.HELD
    assert "1 message queued again" in await run("messages", "retry", "--held", "--yes")
    assert json.loads(await run("messages", "retry", "--failed", "--yes", "--json")) == []


async def test_what_was_sent_is_not_sent_again(gateway, run):
    identity = (await gateway.email())["ext_message_id"]
    await until(lambda: _state(run, identity), State.SENT)

    assert "not changed: a provider has it" in await run("messages", "retry", identity, code=1)


async def test_without_a_gateway_the_command_does_it_itself(tmp_path, start, config, run):
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nlost,lost.me@players.example,\n")
    async with start(tmp_path, config) as gateway:
        identity = await held_message(gateway, run)

    assert "queued again" in await run("messages", "retry", "uid-lost")
    assert await _state(run, identity) == State.QUEUED
    assert "no gateway is running" in await run("send", "sms", "--user", "anna", code=1)


async def test_what_smartico_never_heard_is_told_when_the_operator_says_so(tmp_path, start, config, run):
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nanna,anna@players.example,\n")
    async with Smartico(api_key="the-api-key") as crm:
        async with start(tmp_path, config) as gateway:
            answer = await gateway.email(callback_url=crm.callback_url)
            identity = answer["ext_message_id"]
            await crm.wait_for(identity, "accepted")
        # As after eight calls in vain, which takes more than a day.
        with closing(sqlite3.connect(tmp_path / "gatepost.db", isolation_level=None)) as store:
            store.execute("UPDATE statuses SET telling = 'dead', attempt = 8, problem = 'HTTP 500'")

        assert [one["id"] for one in await listed(run, "--dead")] == [identity]
        assert "accepted given up (8 tries: HTTP 500)" in await run("messages", "list")
        async with start(tmp_path, config):
            assert "1 callback to be told again" in await run("messages", "retry", "--dead", "--yes")
            await until(lambda: _heard(crm, identity), ["accepted", "accepted"])
        assert await listed(run, "--dead") == []


async def _heard(crm, identity):
    return crm.statuses_of(identity)


@pytest.mark.slow
async def test_on_postgresql_the_commands_do_all_of_it_themselves(
    tmp_path, start, config, run, postgres_server
):
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nlost,lost.me@players.example,\n")
    config += f'\n[store]\nurl = "{postgres_server.new_database()}"\n'
    async with start(tmp_path, config) as gateway:
        identity = await held_message(gateway, run)

        assert [one["id"] for one in await listed(run, "held")] == [identity]
        assert "1 message queued again" in await run("messages", "retry", "--held", "--yes")
        # The gateway finds it by itself; nobody told it.
        await until(lambda: _mails(gateway, identity), 2)
        assert "PostgreSQL, signed in" in await run("check", "--live")
        note = tmp_path / "gatepost.toml.running"
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        assert "refused with error_code 1:" in await run("send", "sms", "--user", "nobody", code=1)
        said = await run("send", "email", "--user", "lost", "--from", "a@brand.example", "--no-wait")
        assert "accepted as" in said
    assert not note.exists()
    assert "no gateway is running" in await run("send", "sms", "--user", "lost", code=1)


async def _mails(gateway, identity):
    return len(list((gateway.folder / "box").glob(f"{identity}*")))


async def test_a_store_that_never_was_is_said_to_be_missing(tmp_path, config, run):
    (tmp_path / "gatepost.toml").write_text(config)

    for arguments in (["list"], ["show", "x"], ["retry", "--failed", "--yes"]):
        assert "the gateway has never run" in await run("messages", *arguments, code=1)


@pytest.mark.parametrize("note", [b'{"pid": 1, "ur', b"\x00\xff", b"[]", b'{"pid": 1}'])
async def test_a_note_that_was_half_written_is_no_gateway_and_no_traceback(tmp_path, config, run, note):
    (tmp_path / "gatepost.toml").write_text(config)
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\n")
    (tmp_path / "gatepost.db.lock").write_bytes(note)

    assert "no gateway has left a whole note in" in await run("send", "sms", "--user", "anna", code=1)


async def test_a_test_message_goes_the_way_of_every_other(gateway, run):
    said = await run("send", "email", "--user", "anna", "--from", "noreply@brand.example", "--wait", "2")

    assert "accepted as " in said
    assert "sent through box" in said
    assert "status accepted" in said
    assert "messages show" in said
    (mail,) = (gateway.folder / "box").glob("*.eml")
    assert "Subject: A test from Gatepost" in mail.read_text()


async def test_a_test_message_needs_no_secret_of_the_gateways(gateway, run):
    path = gateway.folder / "gatepost.toml"
    path.write_text(path.read_text().replace('"the-secret"', '"env:ONLY_THE_GATEWAY_HAS_IT"'))

    assert "accepted as " in await run("send", "sms", "--user", "anna", "--from", "Brand", "--no-wait")


async def test_a_gateway_that_may_not_leave_its_note_runs_all_the_same(tmp_path, monkeypatch):
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(control, "_log", log)
    path = tmp_path / "gatepost.toml"
    path.write_text('[store]\nurl = "postgresql://nobody.example/none"\n')
    read, _ = settings.read(path, lambda _use: None)
    (tmp_path / "gatepost.toml.running").mkdir()

    with control.noted(read, "http://127.0.0.1:1", "token"):
        pass

    assert [call.args for call in log.calls] == [("note_not_left",)]


async def test_a_note_is_written_through_no_link(tmp_path):
    path = tmp_path / "gatepost.toml"
    path.write_text('[store]\nurl = "postgresql://nobody.example/none"\n')
    read, _ = settings.read(path, lambda _use: None)
    (tmp_path / "precious").write_text("precious")
    control.note_of(read).symlink_to(tmp_path / "precious")

    with control.noted(read, "http://127.0.0.1:1", "token"):
        pass

    assert (tmp_path / "precious").read_text() == "precious"


async def test_a_note_that_another_process_left_since_stays(tmp_path):
    path = tmp_path / "gatepost.toml"
    path.write_text('[store]\nurl = "postgresql://nobody.example/none"\n')
    read, _ = settings.read(path, lambda _use: None)

    with control.noted(read, "http://127.0.0.1:1", "one"):
        with control.noted(read, "http://127.0.0.1:2", "two"):
            pass
        assert not control.note_of(read).exists()
        control.note_of(read).write_text("somebody's")

    assert control.note_of(read).read_text() == "somebody's"


async def test_a_test_message_is_refused_like_every_other(gateway, run):
    said = await run("send", "email", "--user", "anna", "--from", "me@elsewhere.example", code=1)

    assert "refused with error_code 10: from_email_address is not one of" in said
    assert "refused with error_code 1:" in await run("send", "sms", "--user", "nobody", code=1)
    assert "the running gateway has no such client" in await run(
        "send", "sms", "--user", "a", "--client", "other", code=1
    )


async def test_a_test_message_that_is_rejected_ends_with_one(gateway, run):
    said = await run("send", "email", "--user", "reject", "--from", "noreply@brand.example", code=1)

    assert "rejected through box: the sandbox refuses this recipient [reject]" in said


async def test_who_has_no_token_finds_nothing_to_control(gateway, run):
    lock = gateway.folder / "gatepost.db.lock"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    assert stat.S_IMODE(lock.with_suffix("").stat().st_mode) == 0o600
    token = json.loads(lock.read_text())["token"]
    body = {"wishes": []}

    async def status(what, **headers):
        async with gateway.http.post(f"{gateway.url}/control/{what}", json=body, headers=headers) as response:
            return response.status

    assert await status("retry", Authorization=f"Bearer {token}") == 200
    assert await status("retry") == 404
    assert await status("retry", Authorization="Bearer ") == 404
    assert await status("retry", Authorization=f"Bearer {token}x") == 404
    assert await status("retry", Authorization="the-secret") == 404
    assert await status("anything", Authorization=f"Bearer {token}") == 404
    assert await status("send", Authorization=f"Bearer {token}") == 400
