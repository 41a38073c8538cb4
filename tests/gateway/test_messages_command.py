"""`gatepost messages` and `gatepost send` beside a running gateway, and without one."""

import asyncio
import json
import logging
import re
import shlex
import sqlite3
import stat
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from msgspec.structs import replace
from sqlalchemy import event

from claiming import claim_due, claim_due_suspect
from gatepost import app, throttle
from gatepost.cli import send, store
from gatepost.errors import Unavailable
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import NewMessage, Policy, new_id, open_outbox, queries
from gatepost.outbox.queries import MessageView, StatusView
from gatepost.outbox.states import State
from gatepost.testing import emulator
from gatepost.testing.smartico import Smartico
from gatepost_sendgrid.testing import SendGridEmulator


@pytest.fixture(autouse=True)
def quiet_gateway(monkeypatch):
    """Silence the gateway's log: it shares the process with the command, whose output the tests check."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def config(config):
    """Add the setting that holds messages soon after their answer was lost."""
    return config + '\n[delivery]\nuncertain_wait = 0.01\nuncertain = "hold"\n'


async def until(value, expected):
    async with asyncio.timeout(60):
        while await value() != expected:  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.05)


async def listed(run, *arguments):
    return json.loads(await run("messages", "list", "--json", *arguments))["messages"]


async def held_message(gateway, run):
    """Send a message that is held because the sandbox loses its answer; return its id."""
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


async def test_a_message_is_found_by_each_of_its_ids(gateway, run):
    identity = (await gateway.email("uid-1"))["ext_message_id"]
    await until(lambda: _state(run, identity), State.SENT)

    by_id = json.loads(await run("messages", "show", identity, "--json"))
    by_uid = json.loads(await run("messages", "show", "uid-1", "--json"))
    by_provider = json.loads(await run("messages", "show", by_id["tries"][0]["provider_id"], "--json"))

    assert by_id == by_uid == by_provider
    assert by_id["ext_message_id"] == identity
    assert [status["status"] for status in by_id["statuses"]] == ["accepted"]
    shown = await run("messages", "show", identity)
    for word in (identity, "uid-1", "brand", "anna", "sent", "box", "erased", "accepted"):
        assert word in shown
    assert re.search(r"\n20\S+ \S+Z  accepted from brand, uid uid-1, route email\n", shown)
    assert re.search(
        r"\n20\S+ \S+Z  box: sent after \d+\.\d\d s, its id \S+\n20\S+ \S+Z  status accepted\n", shown
    )
    assert "players.example" not in shown


async def test_an_unknown_id_is_reported(gateway, run):
    assert "no message has the id never\\x1b[31m" in await run("messages", "show", "never\x1b[31m", code=1)


async def test_the_list_can_be_limited_to_states(gateway, run):
    sent = (await gateway.email("uid-1"))["ext_message_id"]
    refused = (await gateway.email("uid-2", ext_user_id="reject"))["ext_message_id"]
    await until(lambda: _state(run, sent), State.SENT)
    await until(lambda: _state(run, refused), State.REJECTED)

    assert [one["ext_message_id"] for one in await listed(run)] == [refused, sent]
    assert [one["ext_message_id"] for one in await listed(run, "sent")] == [sent]
    assert [one["ext_message_id"] for one in await listed(run, "rejected", "failed")] == [refused]
    assert [one["ext_message_id"] for one in await listed(run, "--limit", "1")] == [refused]
    assert await listed(run, "--dead") == []
    text = await run("messages", "list", "rejected")
    assert refused in text
    assert "the sandbox refuses this recipient" in text
    assert "No message matches" in await run("messages", "list", "held")


async def test_the_list_can_be_limited_to_a_channel_a_client_and_a_user(gateway, run):
    mail = (await gateway.email("uid-1"))["ext_message_id"]
    text = (await gateway.sms("uid-1"))["ext_message_id"]

    assert [one["ext_message_id"] for one in await listed(run, "--channel", "sms")] == [text]
    assert [one["ext_message_id"] for one in await listed(run, "--user", "anna", "--client", "brand")] == [
        text,
        mail,
    ]
    assert (
        await listed(run, "--user", "somebody") == await listed(run, "--client", "brand", "--user", "x") == []
    )
    output = await run("messages", "list", "--client", "brant", code=1)
    assert "neither the configuration nor the store has a client brant; is it brand?" in output


async def test_an_id_of_several_messages_is_refused(gateway, run):
    mail = (await gateway.email("uid-1"))["ext_message_id"]
    text = (await gateway.sms("uid-1"))["ext_message_id"]
    await until(lambda: _state(run, mail), State.SENT)
    await until(lambda: _state(run, text), State.SENT)

    for command in ("show", "retry"):
        output = await run("messages", command, "uid-1", code=1)
        assert "uid-1 is the id of several messages" in output
        assert f"{mail}  email of brand, sent" in output
        assert f"{text}  sms of brand, sent" in output


async def test_a_running_gateway_sends_a_held_message_again(gateway, run):
    identity = await held_message(gateway, run)
    assert len(list((gateway.folder / "box").glob(f"{identity}*"))) == 1

    assert "queued again" in await run("messages", "retry", identity)

    await until(lambda: _mails(gateway, identity), 2)


async def test_all_held_messages_are_retried_after_confirmation(gateway, run):
    identity = await held_message(gateway, run)

    assert "Send 1 message again?" in await run("messages", "retry", "--held", input="n\n", code=1)
    assert await _state(run, identity) == State.HELD
    assert "1 message queued again" in await run("messages", "retry", "--held", "--yes")
    assert json.loads(await run("messages", "retry", "--failed", "--yes", "--json")) == []


async def test_only_the_messages_that_are_meant_are_retried(gateway, run):
    """What failed long ago, or of another client, is perhaps of no use any more."""
    identity = await held_message(gateway, run)

    for others in (["--user", "anna"], ["--until", "1h"], ["--channel", "sms"], ["--failed"]):
        chosen = others if others == ["--failed"] else ["--held", *others]
        assert "0 messages queued again" in await run("messages", "retry", *chosen, "--yes")
    assert "has a client brnad" in await run("messages", "retry", "--held", "--client", "brnad", code=1)
    assert "don't go with IDs" in await run("messages", "retry", identity, "--client", "brand", code=2)
    assert "give either IDs" in await run("messages", "retry", "--client", "brand", code=2)
    assert await _state(run, identity) == State.HELD
    wanted = "--held", "--client", "brand", "--user", "lost", "--since", "1h"
    assert "1 message queued again" in await run("messages", "retry", *wanted, "--yes")


async def test_a_sent_message_is_not_retried(gateway, run):
    identity = (await gateway.email())["ext_message_id"]
    await until(lambda: _state(run, identity), State.SENT)

    assert "not changed: a provider has it" in await run("messages", "retry", identity, code=1)


async def test_without_a_gateway_the_command_changes_the_store_itself(tmp_path, start, config, run):
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nlost,lost.me@players.example,\n")
    async with start(tmp_path, config) as gateway:
        identity = await held_message(gateway, run)

    assert "queued again" in await run("messages", "retry", "uid-lost")
    assert await _state(run, identity) == State.QUEUED
    assert "no gateway is running" in await run("send", "sms", "--user", "anna", code=1)


async def test_a_message_held_after_three_deaths_is_shown_and_retried(tmp_path, config, run):
    """Each process ends without releasing its claim."""
    (tmp_path / "gatepost.toml").write_text(config)
    message = NewMessage(
        id=new_id(),
        client="brand",
        channel=Channel.EMAIL,
        uid="uid-1",
        fingerprint=b"",
        ext_user_id="anna",
        preview="",
        callback_url="",
        content=b"content",
        lifetime=86_400.0,
    )
    url = store.load_settings(tmp_path / "gatepost.toml").store.url
    policy = Policy(uncertain_wait=0.0)
    async with open_outbox(url, tmp_path, policy) as outbox:
        await outbox.put(message)
    for _ in range(3):
        async with open_outbox(url, tmp_path, policy) as outbox:
            await outbox.sweep()
            claims = await claim_due(outbox, Channel.EMAIL, 1, 60.0) + await claim_due_suspect(
                outbox, Channel.EMAIL, 60.0
            )
            assert len(claims) == 1
    async with open_outbox(url, tmp_path, policy):
        pass

    output = await run("messages", "list", "held")
    assert message.id in output
    assert "the process died three times while it was sending this message" in output
    lines = [line.split(maxsplit=1) for line in (await run("messages", "show", "uid-1")).splitlines()]
    assert ["state", "held"] in lines
    assert ["reason", "the process died three times while it was sending this message"] in lines
    assert ["process", "died    3 times while it was sending this message"] in lines
    assert "queued again" in await run("messages", "retry", "uid-1")
    assert await _state(run, message.id) == State.SUSPECT
    assert "not known: no gateway is running" in await run("messages", "show", "uid-1")


@pytest.fixture
async def failed_callbacks(tmp_path, start, config):
    """Yield a message with an acknowledged callback, and its Smartico; no gateway runs."""
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nanna,anna@players.example,\n")
    async with Smartico(api_key="the-api-key") as crm:
        async with start(tmp_path, config) as gateway:
            answer = await gateway.email(callback_url=crm.callback_url)
            await crm.wait_for(answer["ext_message_id"], "accepted")
        yield answer["ext_message_id"], crm


def change(folder, statement):
    """Change the store with a statement, for example as if much time had passed."""
    with closing(sqlite3.connect(folder / "gatepost.db", isolation_level=None)) as store:
        store.execute(statement)


# As after eight failed calls, which take more than a day; and as after six.
DEAD = "UPDATE statuses SET callback_state = 'dead', attempt = 8, problem = 'HTTP 500'"
WAITING = """UPDATE statuses SET callback_state = 'queued', attempt = 6, problem = 'HTTP 503',
due_at = (unixepoch() + 36000) * 1000"""


@pytest.mark.parametrize("which", [["--all"], ["--client", "brand"], ["--host", "127.0.0.1"], []])
async def test_dead_callbacks_are_made_when_the_operator_retries_them(
    tmp_path, start, config, run, failed_callbacks, which
):
    identity, crm = failed_callbacks
    change(tmp_path, DEAD)

    assert [one["ext_message_id"] for one in await listed(run, "--dead")] == [identity]
    assert "telling accepted: given up (8 calls: HTTP 500)" in await run("messages", "list")
    shown = await run("messages", "show", identity)
    assert re.search(r"Z  gave up telling 127.0.0.1:\d+ accepted after 8 calls: HTTP 500\n", shown)
    assert f"can be told accepted all the same: gatepost messages tell {identity}" in shown
    async with start(tmp_path, config):
        output = await run("messages", "tell", *(which or [identity]), "--yes")
        assert f"{identity}  1 callback to 127.0.0.1:" in output
        await until(lambda: _heard(crm, identity), ["accepted", "accepted"])
    assert await listed(run, "--dead") == []


async def test_a_message_shows_how_smartico_answered(run, failed_callbacks):
    identity, _ = failed_callbacks

    assert re.search(r"Z  told 127.0.0.1:\d+ accepted: HTTP 200\n", await run("messages", "show", identity))


async def test_callbacks_that_wait_for_hours_are_made_now(tmp_path, start, config, run, failed_callbacks):
    identity, crm = failed_callbacks
    change(tmp_path, WAITING)
    async with start(tmp_path, config):
        assert "Make the failed callbacks of 1 message now?" in await run(
            "messages", "tell", "--all", input="n\n", code=1
        )
        assert "1 callback to be made now" in await run("messages", "tell", "--all", input="y\n")
        await until(lambda: _heard(crm, identity), ["accepted", "accepted"])
        output = await run("messages", "tell", identity, code=1)
        assert "not changed: none of its callbacks waits for another try or was given up" in output
        assert "0 callbacks to be made now" in await run("messages", "tell", "--client", "brand", "--yes")
        assert "has a client other" in await run("messages", "tell", "--client", "other", code=1)


async def test_a_retry_ends_the_rest_of_a_host(tmp_path, start, config, run, failed_callbacks, monkeypatch):
    identity, crm = failed_callbacks
    change(tmp_path, WAITING)
    (other,) = await listed(run)
    gateways = []
    monkeypatch.setattr(app, "Gateway", _recording(app.Gateway, gateways))
    async with start(tmp_path, config):
        (gateway,) = gateways
        slots, target = gateway.callbacks._planner.slots["brand"], crm.callback_url.split("/")[2]
        for _ in range(throttle.FAILURE_THRESHOLD):
            slots.begin(target, 0.0)
            slots.end(target, 1e9, Unavailable("down", retry_after=3600.0))

        await run("messages", "tell", identity)

        await until(lambda: _heard(crm, identity), ["accepted", "accepted"])
    assert other["statuses"][0]["callback_state"] == "queued"


def _recording(base, instances):
    """Return a subclass that appends each instance to ``instances``."""

    class Recording(base):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            instances.append(self)

    return Recording


@pytest.mark.parametrize("wrong", [[], ["--all", "--client", "brand"], ["x", "--all"], ["x", "--host", "y"]])
async def test_tell_takes_exactly_one_selection(config, run, tmp_path, wrong):
    (tmp_path / "gatepost.toml").write_text(config)
    assert "give either IDs, or --client, --host or both, or --all" in await run(
        "messages", "tell", *wrong, code=2
    )


async def _heard(crm, identity):
    return crm.statuses_of(identity)


async def test_the_list_ends_with_the_command_for_the_next_page(gateway, run):
    ids = [(await gateway.sms(f"uid-{number}"))["ext_message_id"] for number in range(3)]

    output = await run("messages", "list", "--limit", "2", "--client", "brand", "--since", "1h")
    assert "2 of 3 messages\nnext page: gatepost messages list --client brand --since 20" in output
    command = shlex.split(output.splitlines()[-1].partition(": ")[2])
    rest = await run(*command[1:])
    assert [ids[0] in rest, ids[1] in rest, ids[2] in rest] == [True, False, False]
    assert "1 of 3 messages" in rest
    assert "next page" not in rest + await run("messages", "list", "--limit", "3")

    page = json.loads(await run("messages", "list", "--limit", "2", "--json"))
    assert (page["matching"], page["matching_at_least"], page["next"]) == (3, False, ids[1])
    assert "--after takes what the page before has printed" in await run(
        "messages", "list", "--after", "x", code=2
    )


async def test_the_list_can_be_limited_to_a_status_a_plugin_a_route_and_a_time(gateway, run):
    sent = (await gateway.email("uid-1"))["ext_message_id"]
    refused = (await gateway.email("uid-2", ext_user_id="reject"))["ext_message_id"]
    await until(lambda: _state(run, sent), State.SENT)
    await until(lambda: _state(run, refused), State.REJECTED)

    async def ids(*options):
        return [one["ext_message_id"] for one in await listed(run, *options)]

    assert await ids("--status", "rejected") == [refused]
    assert await ids("--status", "accepted", "--plugin", "box", "--route", "email", "--since", "1h") == [sent]
    assert await ids("--plugin", "other") == await ids("--until", "1h") == await ids("--route", "sms") == []


@pytest.mark.parametrize("user", ["anna@players.example", "+447700900100", "+44 7700 900100"])
async def test_an_address_in_place_of_a_user_is_refused_and_not_repeated(config, run, tmp_path, user):
    (tmp_path / "gatepost.toml").write_text(config)
    for command in (["list"], ["list", "--refused"], ["cancel"]):
        output = await run("messages", *command, "--user", user, code=2)
        assert "the gateway stores none" in " ".join(output.replace("│", "").split())
        assert user not in output


async def test_a_refused_request_is_found_by_its_user_and_by_its_uid(gateway, run):
    for number in range(3):
        await gateway.email(f"uid-{number}", ext_user_id="nobody")
    await gateway.sms("uid-sms", ext_user_id="who")

    async def refusals(*options):
        return json.loads(await run("messages", "list", "--refused", "--json", *options))

    async def count():
        return (await refusals())["matching"]

    await until(count, 4)
    page = await refusals("--user", "nobody", "--client", "brand", "--limit", "2")
    assert [one["uid"] for one in page["refusals"]] == ["uid-2", "uid-1"]
    assert page["matching"] == 3
    rest = await refusals("--user", "nobody", "--after", page["next"])
    assert [one["uid"] for one in rest["refusals"]] == ["uid-0"]
    assert [one["uid"] for one in (await refusals("--channel", "sms"))["refusals"]] == ["uid-sms"]
    assert (await refusals("--until", "1h"))["refusals"] == []
    assert "No refused request matches" in await run("messages", "list", "--refused", "--user", "anna")
    of_nobody = await run("messages", "list", "--user", "nobody")
    assert "refused in the last day: 3; add --refused to see them" in " ".join(of_nobody.split())
    assert "refused in the last day" not in await run("messages", "list", "--user", "anna")

    await gateway.email("20261127", ext_user_id="10482233")
    await until(count, 5)
    output = await run("messages", "list", "--refused", "--user", "10482233")
    assert "kept without such an id, as [address]: leave out --user" in output
    assert "user [address]  uid [address]" in await run("messages", "list", "--refused")
    for output in (await run("messages", "show", "uid-1"), await run("messages", "list", "--refused")):
        assert "user nobody  uid uid-1\n" in output
        assert "refused with code 1 (user not found): no contact source knows this ext_user_id" in output
    assert json.loads(await run("messages", "show", "uid-1", "--json"))["refusals"][0]["code"] == 1
    assert "a refused request has no status" in await run(
        "messages", "list", "--refused", "--status", "failed", code=2
    )


async def test_a_message_shows_the_refused_requests_with_its_uid(gateway, run):
    await gateway.email("uid-1", ext_user_id="nobody")

    async def refused():
        return json.loads(await run("messages", "list", "--refused", "--json"))["matching"]

    await until(refused, 1)
    identity = (await gateway.email("uid-1"))["ext_message_id"]
    await until(lambda: _kinds(run, identity), ["refused", "accepted", "try", "status"])


async def _kinds(run, identity):
    return [
        step["kind"] for step in json.loads(await run("messages", "show", identity, "--json"))["timeline"]
    ]


async def test_a_message_shows_what_operators_did_and_what_it_waits_for(gateway, run):
    await run("pause", "--client", "brand", "--reason", "wrong text")
    identity = (await gateway.email())["ext_message_id"]
    await run("pause", "--channel", "email", "--until", "2h")
    await run("pause", "--channel", "sms")
    await run("messages", "retry", identity, code=1)
    await run("messages", "cancel", "--client", "brand", "--text", "*other*", "--yes")

    shown = await run("messages", "show", identity)

    happened, _, following = shown.partition("What comes next")
    # On a busy machine a cancellation takes several steps, and its begin has a line of its own.
    assert re.findall(r"Z  \S+.*: (pause|retry|cancel)((?: .*)?)\n", happened) == [
        ("pause", " channel email"),
        ("retry", ""),
        # It shows that this message was perhaps not meant.
        ("cancel", " client brand, text *other*"),
    ]
    assert "a try, as soon as its turn comes" in following
    assert re.search(r"paused until it is resumed \(client brand\), by .*: wrong text\n", following)
    assert re.search(r"paused until 20\S+ \S+Z \(channel email\)", following)
    assert "sms" not in following
    assert re.search(r"\n20\S+ \S+Z  fails, unless a provider has it until then", following)


UTC_TIME = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


async def test_every_time_is_shown_in_utc(gateway, run, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Manila")
    time.tzset()
    try:
        identity = (await gateway.email())["ext_message_id"]
        await until(lambda: _state(run, identity), State.SENT)
        began = datetime.now(UTC)

        one = json.loads(await run("messages", "show", identity, "--json"))
        shown, listed_ = await run("messages", "show", identity), await run("messages", "list")
    finally:
        monkeypatch.undo()
        time.tzset()
    times = [one["created_at"], one["expires_at"], one["ended_at"], one["statuses"][0]["recorded_at"]]
    assert all(UTC_TIME.fullmatch(each) for each in times)
    assert abs(datetime.fromisoformat(one["created_at"]) - began) < timedelta(hours=1)
    assert f"{one['created_at'][:19].replace('T', ' ')}Z" in listed_
    assert {f"{each[:19].replace('T', ' ')}Z" for each in (one["created_at"], one["expires_at"])} & set(
        re.findall(r"20\S+ \S+Z", shown)
    )


async def test_a_waiting_message_shows_which_instance_rests_and_why(tmp_path, start, config, run):
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nanna,anna@players.example,\n")
    async with SendGridEmulator() as vendor:
        vendor.failure = emulator.answer(503, {"Retry-After": "1800"})
        config = (
            config.replace('email = ["box"]', 'email = ["sendgrid-main"]')
            + f"""
[plugins.sendgrid-main]
use = "sendgrid"
api_key = "{vendor.api_key}"
base_url = "{vendor.base_url}"
"""
        )
        async with start(tmp_path, config) as gateway:
            identity = (await gateway.email())["ext_message_id"]
            await until(lambda: _tries(run, identity), (State.QUEUED, 1))

            shown = await run("messages", "show", identity)
        assert re.search(r" sendgrid-main rests for (29|30) min more: the provider answered 503", shown)
    assert "not known: no gateway is running" in await run("messages", "show", identity)


async def _tries(run, identity):
    one = json.loads(await run("messages", "show", identity, "--json"))
    return one["state"], one["attempts"]


async def test_a_read_of_the_store_sees_one_moment(gateway, run):
    """A write between two statements of a read is seen by neither of them."""
    identity = (await gateway.email("uid-1"))["ext_message_id"]
    await until(lambda: _state(run, identity), State.SENT)
    settings = store.load_settings(gateway.folder / "gatepost.toml")

    def query(connection):
        @event.listens_for(connection, "after_cursor_execute")
        def write(_connection, _cursor, statement, *_more):
            if statement.startswith("SELECT"):
                change(gateway.folder, "UPDATE statuses SET code = 'later'")

        return queries.find_messages(connection, identity)

    (one,) = await store.fetch(settings, query)
    assert [status.code for status in one.statuses] == [""]
    assert (await listed(run))[0]["statuses"][0]["code"] == "later"


@pytest.mark.slow
async def test_the_commands_work_on_postgresql(tmp_path, start, config, run, postgres_server):
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nlost,lost.me@players.example,\n")
    config += f'\n[store]\nurl = "{postgres_server.new_database()}"\n'
    async with start(tmp_path, config) as gateway:
        identity = await held_message(gateway, run)

        assert [one["ext_message_id"] for one in await listed(run, "held")] == [identity]
        assert "1 message queued again" in await run("messages", "retry", "--held", "--yes")
        # The gateway finds the change in the store by itself.
        await until(lambda: _mails(gateway, identity), 2)
        assert "PostgreSQL, signed in" in await run("check", "--live")
        admin_socket = tmp_path / "gatepost.toml.sock"
        assert stat.S_IMODE(admin_socket.stat().st_mode) == 0o600
        assert "refused with error_code 1:" in await run("send", "sms", "--user", "nobody", code=1)
        output = await run("send", "email", "--user", "lost", "--from", "a@brand.example", "--no-wait")
        assert "accepted as" in output
    assert not admin_socket.exists()
    assert "no gateway is running" in await run("send", "sms", "--user", "lost", code=1)


async def _mails(gateway, identity):
    return len(list((gateway.folder / "box").glob(f"{identity}*")))


async def test_a_missing_store_is_reported(tmp_path, config, run):
    (tmp_path / "gatepost.toml").write_text(config)

    for arguments in (["list"], ["show", "x"], ["retry", "--failed", "--yes"]):
        assert "the gateway has never run" in await run("messages", *arguments, code=1)


async def test_a_test_message_is_sent_like_every_other(gateway, run):
    output = await run("send", "email", "--user", "anna", "--from", "noreply@brand.example", "--wait", "2")

    assert "accepted as " in output
    assert "sent through box" in output
    assert "status accepted" in output
    assert "messages show" in output
    (mail,) = (gateway.folder / "box").glob("*.eml")
    assert "Subject: A test from Gatepost" in mail.read_text()


async def test_a_test_message_shows_why_it_waits(monkeypatch, capsys):
    """The message is queued before the first try and after it; the second line shows the reason."""
    view = MessageView(
        **dict.fromkeys(("id", "client", "channel", "route", "uid", "ext_user_id"), "x"),
        **dict.fromkeys(("country", "instance", "reason", "code"), ""),
        **dict.fromkeys(("created_at", "due_at", "expires_at", "ended_at"), 0.0),
        state="queued",
        attempts=0,
        deaths=0,
        has_content=True,
        tries=[],
        statuses=[],
    )
    tried = {"attempts": 1, "instance": "relay", "reason": "the relay answered 451", "code": "451"}
    failed = StatusView(
        status="failed",
        code="",
        recorded_at=0.0,
        reporter="",
        callback_state="queued",
        target="",
        attempts=0,
        called_at=None,
        http_status=0,
        next_attempt_at=None,
        problem="",
    )
    views = [
        view,
        replace(view, **tried),
        replace(view, **tried, state="sending"),
        replace(view, **tried),
        replace(view, **tried, state="failed", statuses=[failed]),
    ]

    async def fetch(_settings, _query):
        return [views.pop(0)]

    monkeypatch.setattr(store, "fetch", fetch)
    monkeypatch.setattr(send, "_POLL_INTERVAL", 0.0)

    assert not await send._follow(None, "x", 60.0)

    assert capsys.readouterr().out.splitlines() == [
        "queued",
        "queued through relay: the relay answered 451 [451]",
        "sending through relay",
        "queued through relay: the relay answered 451 [451]",
        "failed through relay: the relay answered 451 [451]",
        "status failed",
    ]


async def test_a_test_message_needs_no_secret_of_the_gateway(gateway, run):
    path = gateway.folder / "gatepost.toml"
    path.write_text(path.read_text().replace('"the-secret"', '"env:ONLY_THE_GATEWAY_HAS_IT"'))

    assert "accepted as " in await run("send", "sms", "--user", "anna", "--from", "Brand", "--no-wait")


async def test_a_test_message_is_refused_like_every_other(gateway, run):
    output = await run("send", "email", "--user", "anna", "--from", "me@elsewhere.example", code=1)

    assert "refused with error_code 10: from_email_address is not one of" in output
    assert "refused with error_code 1:" in await run("send", "sms", "--user", "nobody", code=1)
    assert "the configuration in use has no client" in await run(
        "send", "sms", "--user", "a", "--client", "other", code=1
    )


async def test_a_rejected_test_message_ends_with_exit_code_1(gateway, run):
    output = await run("send", "email", "--user", "reject", "--from", "noreply@brand.example", code=1)

    assert "rejected through box: the sandbox refuses this recipient [reject]" in output
