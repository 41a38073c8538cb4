"""`gatepost forget` and `gatepost export`, beside a running gateway and without one, on both stores."""

import asyncio
import json
import stat

import pytest

from claiming import claim_due
from gatepost.model import Channel, Secret
from gatepost.outbox import Outbox, Policy, SendResult, open_outbox
from gatepost.outbox.states import State

USER = "vorpal<b>4711"
"""An ext_user_id that is HTML."""


@pytest.fixture
def gateway(deployment, monkeypatch):
    """Return the deployment with a sandbox as provider, and a housekeeping that does not wait."""
    monkeypatch.setattr("gatepost.upkeep.housekeeping.PRUNE_INTERVAL", 0.05)
    deployment.contacts = f"ext_user_id,email,phone\n{USER},ella@players.example,+447700900100\n"
    deployment.contacts += "anna,anna@players.example,\n"
    deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    return deployment


def started(deployment):
    return deployment.running(email=["box"], sms=["box"])


def files(folder):
    """Return what is in the files of an SQLite store."""
    return b"".join(one.read_bytes() for one in folder.glob("gatepost.db*") if one.is_file()).decode(
        "latin-1"
    )


def parsed(output):
    """Return the JSON that a command printed; the gateway in this process may have logged a line beside it."""
    lines = output.splitlines()
    start = next(number for number, line in enumerate(lines) if line and line[0] in "[{")
    return json.JSONDecoder().raw_decode("\n".join(lines[start:]))[0]


async def audited(run):
    return parsed(await run("audit", "list", "--json"))


async def test_a_user_is_forgotten_while_the_gateway_runs(gateway, run, wait_until):
    async with started(gateway):
        sent = await gateway.email(USER, email_uid="first")
        await gateway.hears(sent, "accepted")
        await run("pause", "--channel", "email")
        waiting = await gateway.email(USER, email_uid="second")
        assert USER in files(gateway.folder)

        output = await run("forget", USER, "--yes")

        assert f"{USER} of brand is forgotten: 2 messages, 1 of them cancelled" in output
        await gateway.hears(waiting, "rejected")
        # The callback URL goes when the last callback was made.
        traces = "vorpal", gateway.crm.callback_url
        await wait_until(lambda: not any(one in files(gateway.folder) for one in traces))
        await run("resume", "--all")
        # The same uid is the same message; a new one is refused, and leaves no trace of the user.
        again = await gateway.crm.send_email(ext_user_id=USER, email_uid="second")
        assert again == {"error_code": 0, "ext_message_id": waiting}
        answer = await gateway.crm.send_email(ext_user_id=USER, email_uid="third")
        assert answer == {"error_code": 13, "error_message": "the user must not be contacted (forgotten)"}
        await gateway.email("anna")
    assert "vorpal" not in files(gateway.folder)
    assert "third" in files(gateway.folder)


async def test_a_user_is_forgotten_when_no_gateway_runs(gateway, run):
    async with started(gateway):
        await gateway.hears(await gateway.email(USER), "accepted")
    assert "1 message, 0 of them cancelled" in await run("forget", USER, "--client", "brand", "--yes")
    assert "vorpal" not in files(gateway.folder)
    answer = parsed(await run("forget", USER, "--yes", "--json"))
    assert answer == {"messages": 0, "cancelled": 0, "unfinished": 0}
    async with started(gateway):
        assert (await gateway.crm.send_email(ext_user_id=USER, email_uid="x"))["error_code"] == 13
        assert "hash " in await run("suppress", "list", "--user", USER)
        await run("suppress", "remove", USER)
        await gateway.email(USER, email_uid="x")


async def test_forget_may_take_longer_than_other_commands(gateway, run, monkeypatch):
    """A user may have many messages; an answer that does not come would look as if nothing was erased."""
    async with started(gateway):
        await gateway.hears(await gateway.email(USER), "accepted")
        monkeypatch.setattr("gatepost.cli.admin_client._REQUEST_TIMEOUT", 3.0)
        monkeypatch.setattr(Outbox, "erase_copies", lambda _: asyncio.sleep(4.0))
        assert f"{USER} of brand is forgotten" in await run("forget", USER, "--yes")


async def test_forget_asks_first(gateway, run):
    async with started(gateway):
        await run("pause", "--channel", "email")
        await gateway.email(USER)

        output = await run("forget", USER, code=1, input="n\n")

        assert f"Forget user {USER} of brand, with 1 message, 1 of which has not ended?" in output
        assert USER in files(gateway.folder)
        assert [one["operation"] for one in await audited(run)] == ["pause"]
        assert "is forgotten" in await run("forget", USER, input="y\n")


@pytest.mark.parametrize("command", [["forget", "--yes"], ["export"]])
async def test_an_id_without_anything_in_the_store_is_an_error(gateway, run, command):
    async with started(gateway):
        await gateway.email("anna")
        for user, problem in {
            "nobody": "nothing is stored of user nobody: USER is the ext_user_id, letter by letter",
            "<script>alert(1)</script>": "nothing is stored of user <script>",
            "ann": "nothing is stored of user ann",
            "ann%": "nothing is stored of user ann%",
            "\x1b[31m": "nothing is stored of user \\x1b[31m",
            "a\0b": "an ext_user_id has no NUL",
            "x" * 10_000: "an ext_user_id has 1 to 512 characters",
            "": "an ext_user_id has 1 to 512 characters",
            "\udcff": "an ext_user_id is UTF-8",
        }.items():
            assert problem in await run(*command, user, code=1)
        output = await run(*command, "anna", "--client", "other", code=1)
        assert (
            "nothing is stored of user anna of client other; something is stored of the user of brand"
            in output
        )
        assert await audited(run) == []


@pytest.mark.parametrize("command", [["forget", "--yes"], ["export"]])
async def test_the_client_must_be_named_where_several_have_the_user(gateway, run, command):
    async with started(gateway):
        await gateway.hears(await gateway.email("anna"), "accepted")
    gateway.tables["clients.second"] = {**gateway.tables["clients.brand"], "authorization": ["another"]}
    gateway.tables["contacts"]["shared"] = True
    async with started(gateway):
        await run("suppress", "add", "anna", "--client", "second")

        output = await run(*command, "anna", code=1)

        assert "several clients have a user anna: name one with --client: brand, second" in output
        await run(*command, "anna", "--client", "second")
        (entry, _) = await audited(run)
        assert (entry["operation"], entry["target"]["client"]) == (command[0], "second")
        assert len(parsed(await run("export", "anna", "--client", "brand"))["stored"]["messages"]) == 1


async def test_an_export_holds_what_is_stored(gateway, run):
    async with started(gateway):
        sent = await gateway.email(USER, subject="jabberwock")
        await gateway.hears(sent, "accepted")
        await run("pause", "--channel", "sms")
        await gateway.sms(USER, body="frumious")

        output = await run("export", USER)
        exported = parsed(output)

        stored = exported["stored"]
        assert (stored["client"], stored["ext_user_id"]) == ("brand", USER)
        email, text = stored["messages"]
        assert (email["ext_message_id"], email["state"], email["content"]) == (sent, "sent", None)
        assert [one["status"] for one in email["statuses"]] == ["accepted"]
        assert [one["instance"] for one in email["tries"]] == ["box"]
        assert email["callback_url"].startswith(gateway.crm.callback_url)
        assert text["content"]["text"] == "frumious"
        assert text["content_until_at"] > text["expires_at"]
        for address in ("ella@players.example", "447700900100"):
            assert address not in output
        # An export names the one that it is.
        assert [one["operation"] for one in stored["audit_log"]] == ["export"]
        assert stored["audit_log"][0]["target"] == {"client": "brand", "user": stored["user_hash"]}
        assert any("in the operator's own systems" in one for one in exported["notes"])
        shown = await run("audit", "list")
        assert f"export  client=brand user={stored['user_hash'][:16]}\n" in shown

        await run("forget", USER, "--yes")
        after = parsed(await run("export", USER))["stored"]
        assert after["messages"] == []
        assert [one["reason"] for one in after["suppressions"]] == ["forgotten"]
        assert [one["operation"] for one in after["audit_log"]] == ["export", "forget", "export"]


async def test_an_export_can_go_into_a_new_private_file(gateway, run, tmp_path):
    async with started(gateway):
        await gateway.email("anna")
    path = tmp_path / "anna.json"

    assert f"anna of brand: 1 message written to {path}" in await run("export", "anna", "--output", str(path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["stored"]["ext_user_id"] == "anna"
    assert "exists already" in await run("export", "anna", "--output", str(path), code=1)
    missing = str(tmp_path / "nowhere" / "x")
    assert "can't be created: No such file" in await run("export", "anna", "--output", missing, code=1)


@pytest.mark.slow
async def test_both_commands_work_with_several_replicas_on_postgresql(
    gateway, run, postgres_server, tmp_path, wait_until
):
    """The second replica is sending when the user is forgotten through the first one."""
    url = postgres_server.new_database()
    gateway.tables["store"] = {"url": url}
    async with started(gateway), open_outbox(Secret(url), tmp_path, Policy()) as replica:
        await run("pause", "--channel", "email")
        await gateway.email(USER, callback_url=None)
        (claim,) = await claim_due(replica, Channel.EMAIL, 1, 600.0)

        output = await run("forget", USER, "--yes")

        assert "1 message not erased in full yet: being sent now, or a callback is open." in output
        assert len(parsed(await run("export", USER))["stored"]["messages"]) == 1
        await replica.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT, instance="box"))

        async def is_erased():
            return parsed(await run("export", USER))["stored"]["messages"] == []

        await wait_until(is_erased)
        assert (await gateway.crm.send_email(ext_user_id=USER, email_uid="x"))["error_code"] == 13
