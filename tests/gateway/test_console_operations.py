"""The pages on which operators steer a real gateway: plugins and pauses, callbacks, and the audit log."""

import asyncio
import contextlib
import itertools
import json
import re
import sqlite3

import pytest
from click.testing import CliRunner

from console_browser import Console
from gatepost.cli import main
from gatepost.testing import emulator

HTML = "<img src=x onerror=alert(1)>"


@pytest.fixture
async def console(deployment, sendgrid, begin, wait_until):
    """Return a console whose gateway runs for two clients, one with an instance of its own.

    Its users: the operator maria, the viewer vera, and the operator olga, who is limited to the client ``other``.
    """
    tables = deployment.tables
    tables["console"] = {"listen": "127.0.0.1:0"}
    tables["contacts"]["shared"] = True
    tables["clients.other"] = tables["clients.brand"] | {"authorization": ["the-other-secret"]}
    tables["plugins.own"] = {"use": "sandbox", "folder": "own"}
    tables["routes.email"] = [
        {"name": "others", "clients": ["other"], "use": ["own"]},
        {"name": "everyone", "use": ["sendgrid-main"]},
    ]
    process, _ = await begin()
    await wait_until(lambda: "console_listening" in process.log.read_text())
    console = Console(process)
    await console.run("add-user", "maria", "--role", "operator")
    await console.run("add-user", "vera", "--role", "viewer")
    await console.run("add-user", "olga", "--role", "operator", "--client", "other")
    return console


@pytest.fixture
def store(console):
    """Return a function that runs SQL in the gateway's store."""

    def run(sql, *values):
        path = console.process.config.parent / "gatepost.db"
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            return database.execute(sql, values).fetchall()

    return run


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


async def test_an_operator_pauses_and_resumes_with_a_reason_and_an_end(console):
    async with console.browser("maria") as browser:
        csrf = await browser.csrf()
        _, text = await browser.get("/plugins?plugin=sendgrid-main")
        assert '<option value="sendgrid-main" selected>' in text
        assert "Nothing is paused" in text
        fields = {"plugin": "sendgrid-main", "client": "", "route": "", "channel": "email", "until": "1h"}
        status, text = await browser.post("/plugins/pause", csrf=csrf, **fields, reason=HTML)
        assert (status, HTML in text) == (200, False)
        assert "&lt;img src=x onerror=alert(1)&gt;" in text
        assert "channel email, plugin sendgrid-main" in text
        assert "maria (console)" in text
        scope = {"plugin": "sendgrid-main", "channel": "email"}
        _, text = await browser.post("/plugins/resume", csrf=csrf, **scope)
        assert "Nothing is paused" in text
        # In another tab it was resumed already.
        status, text = await browser.post("/plugins/resume", csrf=csrf, **scope)
        assert (status, "nothing is paused" in text) == (400, True)
        _, text = await browser.get("/audit?actor=maria")
        assert text.index(">resume<") < text.index(">pause<", text.index("<tbody>"))
        assert HTML not in text


SENSELESS = (
    ({}, "nothing is named"),
    ({"plugin": "nope"}, "no such plugin"),
    ({"route": HTML}, "no such route"),
    ({"client": "nope"}, "no such client"),
    ({"channel": "pigeon"}, "no such channel"),
    ({"client": "brand", "until": "1y"}, "choose an end"),
    ({"client": "brand", "route": "others"}, "no route sends such messages"),
    ({"client": "brand", "reason": "ask anna@example.com"}, "an address or a phone number"),
    ({"client": "brand", "reason": "x" * 201}, "at most 200 characters"),
    ({"client": "brand", "reason": "a\0b"}, "character that can&#39;t be shown"),
)


async def test_a_pause_that_makes_no_sense_is_refused_with_a_sentence(console):
    empty = {"plugin": "", "route": "", "channel": "", "client": "", "until": "", "reason": ""}
    async with console.browser("maria") as browser:
        csrf = await browser.csrf()
        for fields, problem in SENSELESS:
            status, text = await browser.post("/plugins/pause", csrf=csrf, **empty | fields)
            assert (status, problem in text) == (400, True), text
            assert HTML not in text
        assert "Nothing is paused" in (await browser.get("/plugins"))[1]


CHANGES = {
    "/plugins/pause": {"client": "other"},
    "/plugins/resume": {"client": "other"},
    "/callbacks/tell": {"until": "9" * 13},
}


async def test_a_viewer_and_a_form_without_its_token_change_nothing(console, store):
    async with console.browser("vera") as browser:
        csrf = await browser.csrf()
        for page in ("/plugins", "/callbacks", "/audit"):
            status, text = await browser.get(page)
            assert status == 200
            assert "<button>Pause" not in text
        for path, fields in CHANGES.items():
            status, text = await browser.post(path, csrf=csrf, **fields)
            assert (status, "needs the role operator" in text) == (403, True)
    async with console.browser("maria") as browser:
        for (path, fields), csrf in itertools.product(CHANGES.items(), (None, "0" * 64)):
            status, text = await browser.post(path, csrf=csrf, **fields)
            assert (status, "nothing was done" in text) == (403, True)
    assert store("SELECT count(*) FROM audit WHERE operation NOT LIKE 'console-%'") == [(0,)]


async def test_a_user_limited_to_a_client_pauses_only_its_messages(console):
    async with console.browser("olga") as browser:
        csrf = await browser.csrf()
        _, text = await browser.get("/plugins")
        assert "sendgrid-main" in text
        assert 'value="brand"' not in text

        async def pause(**fields):
            empty = {"plugin": "", "route": "", "channel": "", "client": "", "until": "", "reason": ""}
            return await browser.post("/plugins/pause", csrf=csrf, **empty | fields)

        for fields in ({"plugin": "sendgrid-main"}, {"route": "everyone"}, {"channel": "email"}):
            status, text = await pause(**fields)
            assert status == 400
            assert "other clients use this too: choose your client as well (other)" in text
        assert (await pause(client="brand"))[0] == 400
        # An instance of its own, and the client's messages at one that others use.
        assert (await pause(plugin="own"))[0] == 200
        assert (await pause(plugin="sendgrid-main", client="other"))[0] == 200

    await gatepost(console, "pause", "--client", "brand", "--reason", "secret-plan")
    await gatepost(console, "pause", "--plugin", "sendgrid-main", "--reason", "it is down")
    async with console.browser("olga") as browser:
        csrf = await browser.csrf()
        _, text = await browser.get("/plugins")
        assert "secret-plan" not in text
        assert "it is down" in text
        for scope in ({"client": "brand"}, {"plugin": "sendgrid-main"}, {"plugin": "gone"}, {}):
            status, text = await browser.post("/plugins/resume", csrf=csrf, **scope)
            assert status == 400
            assert "you may not end this pause" in text
        assert (await browser.post("/plugins/resume", csrf=csrf, plugin="own", client="other"))[0] == 200
        _, text = await browser.get("/audit")
        assert "own" in text
        assert "secret-plan" not in text


async def test_dead_letters_are_shown_and_told_again(console, deployment, store, wait_until):
    """One, those to a host, and all; of a limited user those of its clients alone."""
    crm = deployment.crm
    ids = [await deployment.email() for _ in range(4)]
    for one in ids:
        await deployment.hears(one, "accepted")
    dead = "UPDATE statuses SET callback_state = 'dead', due_at = NULL, attempt = 8, problem = ?, http_status = 500"
    store(dead, HTML)
    store("UPDATE statuses SET client = 'other' WHERE message_id = ?", ids[3])
    store("UPDATE messages SET client = 'other' WHERE id = ?", ids[3])
    store("UPDATE statuses SET target = 'gone.example:443' WHERE message_id = ?", ids[2])
    calls = {one: len(crm.statuses_of(one)) for one in ids}

    def left():
        return {row[0] for row in store("SELECT message_id FROM statuses WHERE callback_state = 'dead'")}

    async with console.browser("olga") as browser:
        _, text = await browser.get("/callbacks")
        assert ids[3] in text
        assert not [one for one in ids[:3] if one in text]
        csrf = await browser.csrf()
        for fields in ({"message": ids[0]}, {"client": "brand", "until": "9" * 13}, {"message": "no-id"}):
            assert (await browser.post("/callbacks/tell", csrf=csrf, **fields))[0] == 400
        assert (await browser.get("/callbacks?client=brand"))[1].count(ids[0]) == 0
    assert left() == set(ids)

    async with console.browser("maria") as browser:
        csrf = await browser.csrf()
        _, text = await browser.get("/callbacks")
        assert all(one in text for one in ids)
        assert HTML not in text
        assert "&lt;img src=x" in text
        _, text = await browser.get("/callbacks?client=brand&target=gone.example:443")
        assert (ids[2] in text, ids[0] in text) == (True, False)
        # Nothing was given up before this moment, so nothing is told.
        _, text = await browser.post("/callbacks/tell", csrf=csrf, until="1000")
        assert "0 callbacks are made again" in text
        assert (await browser.post("/callbacks/tell", csrf=csrf))[0] == 400
        _, text = await browser.post("/callbacks/tell", csrf=csrf, message=ids[0])
        assert "1 callback is made again" in text
        assert left() == set(ids[1:])
        until = "9" * 13
        await browser.post(
            "/callbacks/tell", csrf=csrf, client="brand", target="gone.example:443", until=until
        )
        assert left() == {ids[1], ids[3]}
        _, text = await browser.post("/callbacks/tell", csrf=csrf, until=until)
        assert "2 callbacks are made again" in text
        assert left() == set()
        assert "tell" in (await browser.get("/audit?operation=tell"))[1]
    await wait_until(lambda: len(crm.statuses_of(ids[0])) > calls[ids[0]])


async def test_the_audit_log_is_read_by_pages_and_filters_and_shows_what_was_changed(console, store):
    for number in range(52):
        await gatepost(console, "suppress", "add", f"p{number}", "--client", "brand", "--reason", "why")
    async with console.browser("maria") as browser:
        _, text = await browser.get("/audit")
        assert "are as they were written" in text
        older = re.search(r'href="(/audit\?[^"]*before=\d+)"', text)[1].replace("&amp;", "&")
        _, second = await browser.get(older)
        assert "console-user-add" in second
        _, text = await browser.get("/audit?operation=console-user-add")
        assert text.count("console-user-add</td>") == 3
        assert "No entry is left" in (await browser.get("/audit?actor=%3Cb%3E"))[1]
        for query in ("before=x", "before=" + "9" * 30, "before=-1"):
            assert (await browser.get(f"/audit?{query}"))[0] == 200
        assert (await browser.get("/audit?actor=%00"))[0] == 400
        store("UPDATE audit SET reason = ? WHERE seq = 50", HTML)
        _, text = await browser.get("/audit")
        assert "Changed since they were written" in text
        assert HTML not in text
    async with console.browser("olga") as browser:
        assert "suppress-add" not in (await browser.get("/audit"))[1].partition("<tbody>")[2]


async def test_an_instance_that_fails_says_why_and_its_errors_are_counted_by_code(
    console, deployment, sendgrid, store, wait_until
):
    sendgrid.plan(*[emulator.answer(401)] * 50)
    await deployment.email()
    await wait_until(lambda: store("SELECT 1 FROM attempts WHERE outcome = 'unavailable'"))
    async with console.browser("maria") as browser:
        _, text = await browser.get("/plugins")
        assert "misconfigured" in text
        assert "Mend its table or its account" in text
        ((code,),) = store("SELECT DISTINCT code FROM attempts")
        assert re.search(rf"sendgrid-main</th><td><code>{code}</code></td><td>unavailable</td>", text)
        assert "players" in text
    async with console.browser("olga") as browser:
        # The message is another client's.
        assert "No try failed" in (await browser.get("/plugins"))[1]


async def test_the_audit_log_is_verified_with_the_heads_of_the_log(console, store):
    """The log has a head at the start and one for each entry; a cut tail is found by them alone."""
    at_start, first, second, third = events(console, "audit_head", "audit_appended")
    assert [one["seq"] for one in (at_start, first, second, third)] == [0, 1, 2, 3]
    assert first["operation"] == "console-user-add"
    heads = [f"--head={one['seq']}:{one['hash']}" for one in (at_start, first, second, third)]
    assert await gatepost(console, "audit", "verify", *heads) == (
        f"The audit log is whole: 3 entries, the head is 3:{third['hash']}\n"
    )

    store("DELETE FROM audit WHERE seq > 1")
    store("UPDATE audit_head SET seq = 1, hash = ?", first["hash"])
    assert "whole: 1 entry," in await gatepost(console, "audit", "verify")
    text = await gatepost(console, "audit", "verify", *heads, code=1)
    assert "entry 2 is missing" in text
    assert "First wrong entry: 2. Before it 1 entry can be trusted." in text


async def test_what_is_no_head_is_refused(console):
    for head in ("", "1", "1:abc", "x:" + "0" * 64, "1:" + "g" * 64, "-1:" + "0" * 64):
        assert "as SEQ:HASH" in await gatepost(console, "audit", "verify", "--head", head, code=2)
