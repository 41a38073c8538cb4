"""`gatepost pause`, `resume` and `messages cancel` beside a running gateway, and without one."""

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from click.testing import CliRunner

from gatepost.cli import admin_client, main, store
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.states import State
from gatepost.testing.smartico import Smartico
from gatepost.web.admin.requests import CancelRequest

CONFIG = """
[routes]
email = ["box", "second"]
sms = ["box"]

[clients.other]
authorization = ["another-secret"]
allow_ips = ["127.0.0.1"]

[plugins.second]
use = "sandbox"
folder = "second"
"""


@pytest.fixture(autouse=True)
def quiet_gateway():
    """Silence the gateway's log: it shares the process with the command, whose output the tests check."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def config(config):
    routes = '[routes]\nemail = ["box"]\nsms = ["box"]\n'
    assert routes in config
    return config.replace(routes, "").replace("[contacts]", "[contacts]\nshared = true") + CONFIG


@pytest.fixture
async def gateway(tmp_path, start, config):
    async with start(tmp_path, config) as gateway:
        yield gateway


@pytest.fixture
def sent(tmp_path, wait_until):
    """Return a function that waits until a message has come to one of the sandboxes; it returns the sandbox."""

    async def sent(answer):
        found = []

        def look():
            found[:] = [
                name
                for name in ("box", "second")
                if list((tmp_path / name).glob(f"{answer['ext_message_id']}*"))
            ]
            return bool(found)

        await wait_until(look)
        return found[0]

    return sent


@pytest.fixture
def state(run):
    async def state(answer):
        return json.loads(await run("messages", "show", answer["ext_message_id"], "--json"))["state"]

    return state


async def test_what_is_paused_waits_and_the_rest_is_sent(gateway, run, sent, state):
    assert "Nothing is paused." in await run("pause")
    output = await run("pause", "--client", "brand", "--channel", "email", "--reason", "wrong prices")
    assert "client brand, channel email  paused until it is resumed" in output
    waiting = await gateway.email("uid-1")
    assert waiting["error_code"] == 0

    await sent(await gateway.sms("uid-2"))
    await sent(await gateway.post("/email", _email("uid-3"), secret="another-secret"))
    assert await state(waiting) == "queued"
    assert "wrong prices" in await run("pause")
    assert "wrong prices" in await run("messages", "show", "uid-1")
    assert "client brand, channel email  resumed" in await run(
        "resume", "--client", "brand", "--channel", "email"
    )

    assert await sent(waiting) == "box"
    assert json.loads(await run("pause", "--json")) == []


def _email(uid):
    return {
        "ext_user_id": "anna",
        "from_email_address": "noreply@other.example",
        "subject": "Hello",
        "body": "<p>Hello</p>",
        "email_uid": uid,
    }


async def test_the_other_plugins_of_a_route_stand_in_for_a_paused_one(gateway, run, sent, state):
    await run("pause", "--plugin", "box")

    assert await sent(await gateway.email("uid-1")) == "second"
    waiting = await gateway.sms("uid-2")
    await run("pause", "--plugin", "second")
    both = await gateway.email("uid-3")
    assert await state(waiting) == await state(both) == "queued"

    assert "plugin second  resumed" in await run("resume", "--all")
    assert await sent(waiting) == await sent(both) == "box"


async def test_a_failover_does_not_go_to_a_paused_plugin(tmp_path, start, config, run, state):
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nanna,down.me@players.example,\n")
    async with start(tmp_path, config) as gateway:
        await run("pause", "--plugin", "second")
        answer = await gateway.email("uid-1")
        assert await first_tries(run, answer) == ["box"]
        assert await state(answer) == "queued"


async def first_tries(run, answer):
    """Wait until a message was tried; return the instances that tried it."""
    async with asyncio.timeout(60):
        while True:
            view = json.loads(await run("messages", "show", answer["ext_message_id"], "--json"))
            if view["tries"]:
                return [one["instance"] for one in view["tries"]]
            await asyncio.sleep(0.05)


async def test_a_pause_outlives_the_gateway(tmp_path, start, config, run, sent, state):
    async with start(tmp_path, config):
        await run("pause", "--route", "email", "--until", "2h")
    async with start(tmp_path, config) as gateway:
        waiting = await gateway.email("uid-1")
        await sent(await gateway.sms("uid-2"))
        assert await state(waiting) == "queued"
    # No gateway runs.
    assert "route email  resumed" in await run("resume", "--route", "email")
    assert "client brand  paused" in await run("pause", "--client", "brand")
    assert "client brand  paused" in await run("pause")
    async with start(tmp_path, config):
        assert await state(waiting) == "queued"
        await run("resume", "--all")
        await sent(waiting)


async def test_a_pause_ends_by_itself(gateway, run, sent):
    end = datetime.now(UTC) + timedelta(seconds=3)
    await run("pause", "--client", "brand", "--until", end.isoformat())

    await sent(await gateway.email("uid-1"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--client", "nobody"], "the configuration in use has no client nobody; it has brand, other"),
        (["--route", "uk"], "the configuration in use has no route uk; it has email, sms"),
        (["--plugin", "players"], "no route has the plugin players; routes have box, second"),
        (
            ["--channel", "sms", "--plugin", "second"],
            "no route sends such messages: channel sms, plugin second",
        ),
    ],
)
async def test_a_pause_of_what_does_not_exist_changes_nothing(gateway, run, arguments, problem):
    assert problem in await run("pause", *arguments, code=1)
    assert json.loads(await run("pause", "--json")) == []
    assert "audit log is empty" in await run("audit", "list")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["pause", "--reason", "x"], "give at least one of --client"),
        (["pause", "--client", "brand", "--until", "2020-01-01T00:00Z"], "this moment has passed"),
        (["pause", "--client", "brand", "--until", "soon"], "give a date, a time such as"),
        (["messages", "cancel", "--since", "soon"], "or how long ago, such as 12h"),
        (["resume"], "give either the options of the pause, or --all"),
        (["resume", "--all", "--client", "brand"], "give either the options of the pause, or --all"),
        (["messages", "cancel"], "give either IDs, or at least one of"),
        (["messages", "cancel", "--state", "held"], "give either IDs, or at least one of"),
        (["messages", "cancel", "some-id", "--client", "brand"], "give either IDs, or at least one of"),
        (["messages", "cancel", "some-id", "--dry-run"], "--state and --dry-run don't go with IDs"),
        (["messages", "cancel", "--client", "brand", "--since", "999999d"], "or how long ago, such as 12h"),
        (["messages", "cancel", "--since", "2h", "--until", "3h"], "--since must be before --until"),
        (["pause", "--client", "brand", "--reason", "eve@players.example waits"], "holds an address"),
        (["messages", "cancel", "--client", "brand", "--reason", "+447700900123"], "holds an address"),
        (["messages", "cancel", "--client", "brand", "--reason", "a\nb"], "on one line"),
        (["messages", "cancel", "--text", "x" * 1001], "--text may have at most 1000 letters"),
    ],
)
async def test_options_that_say_nothing_are_refused(tmp_path, config, run, arguments, problem):
    (tmp_path / "gatepost.toml").write_text(config)

    output = await run(*arguments, code=2)

    assert problem in " ".join(output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--client", "brnad"], "has a client brnad; is it brand? there are: brand, other"),
        (["--route", "uk", "--yes"], "has a route uk; there are: email, sms"),
    ],
)
async def test_a_cancel_of_what_does_not_exist_changes_nothing(gateway, run, arguments, problem):
    assert problem in await run("messages", "cancel", *arguments, code=1)
    assert "audit log is empty" in await run("audit", "list")


async def test_a_pause_of_a_client_at_a_route_for_others_changes_nothing(tmp_path, start, config, run):
    rule = '[[routes.sms]]\nname = "codes"\nclients = ["other"]\nuse = ["box"]\n'
    async with start(tmp_path, config.replace('sms = ["box"]\n', "") + rule):
        problem = "no route sends such messages: client brand, route codes"
        assert problem in await run("pause", "--client", "brand", "--route", "codes", code=1)
        assert json.loads(await run("pause", "--json")) == []


async def test_only_the_very_pause_is_resumed(gateway, run):
    await run("pause", "--client", "brand", "--reason", "the incident of 2026-11-26")

    assert "there is no such pause; paused: client brand" in await run("resume", "--channel", "sms", code=1)
    await run("resume", "--client", "brand")
    assert "nothing is paused" in await run("resume", "--client", "brand", code=1)


async def test_a_campaign_is_cancelled_and_the_login_codes_are_not(tmp_path, start, config, run, sent, state):
    async with Smartico(api_key="the-api-key") as crm, start(tmp_path, config) as gateway:
        await run("pause", "--client", "brand")
        url = {"callback_url": crm.callback_url}
        sales = [await gateway.email(f"s{number}", subject="Spring SALE", **url) for number in range(3)]
        login = await gateway.email("login", subject="Your code", **url)
        wanted = ["messages", "cancel", "--client", "brand", "--text", "*sale*", "--reason", "wrong prices"]

        assert "3 messages would be cancelled" in await run(*wanted, "--dry-run")
        assert "Cancel 3 messages?" in await run(*wanted, input="n\n", code=1)
        assert [await state(one) for one in sales] == ["queued"] * 3
        assert "3 messages cancelled" in await run(*wanted, input="y\n")
        assert "0 messages cancelled" in await run(*wanted)

        for one in sales:
            await crm.wait_for(one["ext_message_id"], "rejected", timeout=60)
            assert crm.statuses_of(one["ext_message_id"]) == ["rejected"]
        shown = await run("messages", "show", sales[0]["ext_message_id"])
        assert "cancelled by the operator: wrong prices" in shown
        assert "erased" in shown
        assert "an operator cancelled it" in await run(
            "messages", "retry", sales[0]["ext_message_id"], code=1
        )
        assert (await gateway.email("s0", subject="Spring SALE", **url)) == sales[0]
        await run("resume", "--all")
        await sent(login)
    audit = await run("audit", "list")
    assert "text=*sale*" in audit
    assert "states" not in audit


async def test_the_gateway_itself_refuses_a_filter_that_means_everything(gateway, run, tmp_path, state):
    await run("pause", "--client", "brand")
    waiting = await gateway.email("uid-1")
    settings = store.load_settings(tmp_path / "gatepost.toml")

    with pytest.raises(admin_client.AdminError, match="a filter that means every message is refused"):
        async with admin_client.open_gateway(settings) as client:
            await client.request("cancel", CancelRequest(wanted=MessageFilter(states=(State.QUEUED,))))

    assert await state(waiting) == "queued"


async def test_messages_are_cancelled_by_any_of_their_ids(gateway, run, state, sent):
    await sent(gone := await gateway.email("gone"))
    await run("pause", "--client", "brand")
    first, second = await gateway.email("uid-1"), await gateway.email("uid-2")

    output = await run("messages", "cancel", first["ext_message_id"], "uid-2")
    assert "2 messages cancelled" in output
    assert await state(first) == await state(second) == "cancelled"
    output = await run("messages", "cancel", gone["ext_message_id"], "uid-1", code=1)
    assert "not cancelled: a provider has it" in output
    assert "not cancelled: it is cancelled already" in output


async def test_without_a_gateway_messages_are_cancelled_in_the_store(tmp_path, start, config, run, state):
    async with start(tmp_path, config) as gateway:
        await run("pause", "--client", "brand")
        answers = [await gateway.email(f"uid-{number}") for number in range(3)]

    output = await run("messages", "cancel", "--user", "anna", "--since", "1h", "--yes", "--json")

    assert json.loads(output) == {"found": 3, "cancelled": 3, "maybe_sent": 0}
    assert [await state(one) for one in answers] == ["cancelled"] * 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["pause", "--client", "", "--channel", "sms"],
        ["resume", "--client", "", "--channel", "sms"],
        ["messages", "cancel", "--client", "", "--channel", "email", "--yes"],
        ["messages", "cancel", "--user", "", "--channel", "email", "--yes"],
        ["messages", "cancel", "--text", "", "--channel", "email", "--yes"],
    ],
)
def test_an_empty_option_is_refused_because_it_would_mean_every_client(arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "it is empty" in result.output


@pytest.mark.parametrize("moment", ["9999-12-31T23:59-12:00", "999999d"])
def test_a_moment_that_the_store_cannot_show_is_refused(moment):
    result = CliRunner().invoke(main, ["messages", "cancel", "--since", moment, "--yes"])
    assert result.exit_code == 2
    assert "give a date" in result.output
