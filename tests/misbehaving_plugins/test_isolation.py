"""A misbehaving plugin affects only itself, in a real gateway beside good plugins on the same route."""

import asyncio
import json
import os
import sqlite3
import sys
import tomllib
from pathlib import Path

import aiohttp
import pytest

from gatepost.plugin_host.services import MAX_WARNINGS
from gatepost.testing.process import GatewayProcess
from gatepost.testing.smartico import Smartico
from misbehaving_plugins import plugins as misbehaving

EMAIL = "jabberwock.vorpal@snicker-snack.example"
WAIT_TIMEOUT = 60.0

CONFIG = """\
[server]
port = 0
[clients.brand]
authorization = ["the-secret"]
allow_ips = ["127.0.0.1"]
callback_api_key = "the-api-key"
callback_hosts = ["127.0.0.1"]
allow_private_callbacks = true
[contacts]
sources = ["odd", "players"]
timeout = 0.5
[delivery]
uncertain = "hold"
uncertain_wait = 0.1
[routes]
email = ["bad", "good"]
sms = ["good"]
[logs]
level = "debug"
format = "json"
[plugins.players]
use = "csv"
path = "contacts.csv"
[plugins.good]
use = "sandbox"
folder = "box"
[plugins.bad]
use = "misbehaving"
timeout = 0.3
concurrency = 2
[plugins.clinging]
use = "misbehaving"
lifespan = "never closes"
[plugins.dying]
use = "misbehaving"
lifespan = "fails"
[plugins.odd]
use = "misbehaving"
key = "tulgey-key"
warns = {key = "is a test key"}
[plugins.odd.users.odd-hang]
email = "odd@users.example"
phone = "+447700900999"
trick = "hang"
[plugins.odd.users.odd-junk]
email = "odd@users.example"
phone = "+447700900999"
trick = "junk"
[plugins.odd.users.odd-raise]
email = "odd@users.example"
phone = "+447700900999"
trick = "unspeakable"
"""

HELD, SENT, REJECTED = ("held", "bad"), ("sent", "bad"), ("rejected", "bad")
HANDED_ON = ("sent", "good")

# For each trick the state of the message afterwards and the plugin that had it, and the problem in the log.
TRICKS = {
    "fine": (SENT, ""),
    "raise": (HELD, "raised ValueError"),
    "raise-group": (HELD, "raised BaseExceptionGroup"),
    "unspeakable": (HELD, "raised Unspeakable"),
    "exit": (HELD, "raised SystemExit"),
    "interrupt": (HELD, "raised KeyboardInterrupt"),
    "generator-exit": (HELD, "raised GeneratorExit"),
    "cancel-itself": (HELD, "cancelled itself"),
    "recurse": (HELD, "raised RecursionError"),
    "nonsense": (HELD, "returned dict instead of a Receipt"),
    "thing": (HELD, "raised RuntimeError"),
    "reject-oddly": (HELD, "raised RuntimeError"),
    "reject": (REJECTED, ""),
    "huge-reason": (REJECTED, ""),
    "hang": (HELD, "took longer than 1.3 s"),
    "spin": (HELD, "took longer than 1.3 s"),
    "ignore-cancellation": (HELD, "ignores its cancellation"),
    "block": (SENT, "has blocked the event loop"),
    "unequal-id": (SENT, ""),
    "huge-id": (SENT, "returned a provider_id that is not a printable text"),
    "recipient-id": (SENT, "returned a provider_id that holds the recipient"),
    "odd-cost": (SENT, "returned a price that is not a Decimal"),
    "opt-out": (REJECTED, ""),
    "reject-as-delivered": (REJECTED, "raised Rejected with a status other than unsubscribed or complained"),
    "reject-with-a-thing": (REJECTED, "raised Rejected with a status other than unsubscribed or complained"),
    "keep-an-address": (HELD, "raised ValueError"),
    "keep-a-book": (HELD, "raised ValueError"),
    "hold-a-lease-for-ever": (HELD, "raised ValueError"),
    "hold-a-lease": (SENT, ""),
    "mutate": (HANDED_ON, ""),
    "leave-a-task": (HANDED_ON, ""),
    "print": (SENT, ""),
    "log": (SENT, ""),
    "leak": (SENT, ""),
    "new-logging": (SENT, ""),
    "close-everything": (SENT, ""),
    "stop-the-loop": (SENT, ""),
    "exit-in-a-task": (SENT, ""),
}


class Bench:
    def __init__(self, process: GatewayProcess, crm: Smartico, folder: Path) -> None:
        self.process = process
        self.crm = crm
        self.folder = folder

    def logged(self) -> list[dict[str, object]]:
        lines = self.process.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def records_of(self, problem: str) -> list[dict[str, object]]:
        return [one for one in self.logged() if problem in str(one.get("problem", one["event"]))]

    async def until(self, predicate):
        async with asyncio.timeout(WAIT_TIMEOUT):
            while not (holds := predicate()):
                assert self.process.running, self.process.log.read_text()[-2000:]
                await asyncio.sleep(0.02)
        return holds

    async def metric(self, series: str) -> float:
        """Return the value of this series in the metrics."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.process.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{series} ")))

    async def fate(self, channel: str, **fields: str) -> tuple[str, str, str]:
        """Send a message; returns its last state, the plugin that had it, and the reason."""
        send = self.crm.send_email if channel == "email" else self.crm.send_sms
        answer = await send(**{"ext_user_id": "anna", **fields})
        assert answer["error_code"] == 0, answer

        def ended():
            with sqlite3.connect(f"file:{self.folder}/gatepost.db?mode=ro", uri=True) as database:
                row = database.execute(
                    "SELECT state, instance, reason FROM messages WHERE id = ?", [answer["ext_message_id"]]
                ).fetchone()
            database.close()
            return row if row[0] not in {"queued", "sending", "uncertain"} else None

        return await self.until(ended)


@pytest.fixture
async def bench(tmp_path):
    (tmp_path / "gatepost.toml").write_text(CONFIG)
    (tmp_path / "contacts.csv").write_text(
        f"ext_user_id,email,phone,name\nanna,{EMAIL},+447700900461,Anna Vorpal\n"
    )
    environment = misbehaving.install(tmp_path / "dist") | {"PYTHONUNBUFFERED": "1"}
    async with Smartico(api_key="the-api-key", authorization="the-secret") as crm:
        process = GatewayProcess(tmp_path / "gatepost.toml", environment=environment)
        try:
            await asyncio.to_thread(process.start)
            crm.gateway_url = process.url
            yield Bench(process, crm, tmp_path)
        finally:
            process.kill()


async def test_every_trick_affects_only_the_misbehaving_plugin(bench):
    restored = 0
    for trick, ((state, instance), problem) in TRICKS.items():
        fate = await bench.fate("email", text_body=trick)
        assert (trick, *fate[:2]) == (trick, state, instance)
        assert len(fate[2]) <= 200
        if problem:
            [record, *_] = await bench.until(lambda problem=problem: bench.records_of(problem))
            assert (record["instance"], record["hook"]) == ("bad", "send_email"), record
        if trick in {"new-logging", "close-everything"}:
            # Until the logging is restored, which may take a moment, nothing is logged.
            restored += 1
            await bench.until(
                lambda restored=restored: (
                    len(bench.records_of("the logging of the process was changed")) >= restored
                )
            )
        # The other channel works, and the refused email shows that the misbehaving plugin is still used.
        assert (await bench.fate("sms", body=f"after {trick}"))[:2] == HANDED_ON
        assert (await bench.fate("email", text_body="reject"))[:2] == REJECTED

    [held] = {one["place"].partition(" in ")[2] for one in bench.records_of("has blocked the event loop")}
    assert held == "Misbehaving.do_block"
    for event in ("logging_restored", "loop_restarted", "thread_failed", "ignored_exception", "loop_error"):
        assert await bench.until(lambda event=event: [one for one in bench.logged() if one["event"] == event])
    # Each violation is counted, also one that could not be logged meanwhile.
    violations = [
        one for one in bench.logged() if one["event"] == "plugin_violation" and one["instance"] == "bad"
    ]
    assert await bench.metric('gatepost_plugin_violations_total{plugin="bad"}') >= len(violations) > 0
    assert await bench.metric('gatepost_plugin_violations_total{plugin="players"}') == 0
    [dead] = bench.records_of("ended by itself")
    assert dead["instance"] == "dying"
    for printed in (one for one in bench.logged() if one["event"] == "printed" and "hook" in one):
        assert printed["instance"] == "bad"
    handed_on = [path.read_text() for path in (bench.folder / "box").glob("*.eml")]
    assert [EMAIL in mail for mail in handed_on] == [True, True]
    log = bench.process.log.read_text()
    for private in ("jabberwock", "snicker", "700900461", "Anna Vorpal"):
        assert private not in log

    # The process also stops with tasks, threads and a lifespan that do not end.
    assert await asyncio.to_thread(bench.process.terminate) == 0
    assert "took longer than 5 s to close" in bench.process.log.read_text()


async def test_a_source_that_hangs_or_raises_is_skipped_and_named(bench):
    for user in ("odd-hang", "odd-raise"):
        # No other source knows the user, so the message is accepted and looked up again later.
        answer = await bench.crm.send_email(ext_user_id=user)
        assert answer["error_code"] == 0
    assert (await bench.fate("email", text_body="fine"))[:2] == SENT
    for problem in ("took longer than 0.5 s", "raised Unspeakable"):
        assert {one["instance"] for one in bench.records_of(problem) if "hook" in one} == {"odd"}


async def test_junk_about_one_user_stops_no_lookup_of_the_others_for_long(bench):
    """The other source knows them; those whom only the odd source knows are looked up again."""
    users = ["anna", "odd-junk"] * 32
    answers = await asyncio.gather(
        *(bench.crm.send_email(ext_user_id=user, text_body="fine") for user in users)
    )

    assert {answer["error_code"] for answer in answers} == {0}
    assert bench.records_of("returned str instead of a Contact")
    assert (await bench.fate("email", text_body="fine"))[:2] == SENT


async def test_the_warnings_of_a_constructor_are_logged_once_and_bounded(bench):
    warnings = [one for one in bench.logged() if one["event"] == "plugin_warning"]

    assert {(one["level"], one["instance"]) for one in warnings} == {("warning", "odd")}
    assert (warnings[0]["key"], warnings[0]["problem"]) == ("plugins.odd.key", "is a test key")
    assert len(warnings) == MAX_WARNINGS + 1
    assert "more warnings than these" in warnings[-1]["problem"]
    assert "tulgey-key" not in bench.process.log.read_text()


@pytest.mark.parametrize(
    "code",
    [
        # In two parts, because a start with debug logs shows the lines of the code.
        "raise SystemExit('tulgey' + '-key')",
        "raise KeyError('tulgey' + '-key')",
        "1 / 0",
        "import nothing_like_it",
        "print('tulgey-key')",
    ],
)
async def test_a_plugin_that_cannot_be_built_refuses_the_start_and_is_named(tmp_path, code):
    environment = {**os.environ, **misbehaving.install(tmp_path / "dist")}
    module = tmp_path / "dist" / "misbehaving.py"
    module.write_text(f"{code}\n{module.read_text()}")
    config = CONFIG if "print" not in code else CONFIG.replace("concurrency = 2", 'concurrency = "two"')
    assert tomllib.loads(config)
    (tmp_path / "gatepost.toml").write_text(config)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gatepost", "serve", "--config", str(tmp_path / "gatepost.toml")),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 1
    assert "plugins.bad" in output
    assert "Traceback" not in output
    assert "tulgey-key" not in output or "print" in code
