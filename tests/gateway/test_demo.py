"""The demo as a new user runs it: in a process of its own, without a terminal."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost.cli import demo
from gatepost.config import console_faults
from gatepost.demo import requests, run
from gatepost.demo.brands import BRANDS
from gatepost.errors import Code
from gatepost.model import Status
from gatepost.plugin_host import discovery
from gatepost.testing.smartico import Smartico

COMMAND = [sys.executable, "-m", "gatepost", "demo"]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "80", "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}


PROVIDERS = (
    *(
        "brevo",
        "http",
        "infobip",
        "mailgun",
        "postmark",
        "sandbox",
        "sendgrid",
        "ses",
        "sinch",
        "smpp",
        "twilio",
    ),
    "vonage",
)


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_whole_way_is_shown_and_nothing_is_left_behind(provider, tmp_path):
    ended = subprocess.run(
        [*COMMAND, "--exit", "--provider", provider],
        capture_output=True,
        text=True,
        check=False,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        timeout=120,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "All 7 requests went as they should" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert "\x1b" not in ended.stdout
    assert list(tmp_path.iterdir()) == []
    rows = [line.split("│") for line in ended.stdout.splitlines() if line.count("│") == 3]
    assert not [left for _, left, _, _ in rows if "@" in left or "+44" in left]
    inside = "".join(right for _, _, right, _ in rows)
    assert all(user.email in inside or user.phone in inside for user in requests.USERS)


@pytest.mark.slow
def test_the_demo_runs_until_ctrl_c_and_its_printed_commands_work(tmp_path):
    # As after `make run`: the command is not on the PATH.
    plain = {**environment(tmp_path), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True, env=plain, start_new_session=True)
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C ends" in line:
                break
        printed = "".join(lines)
        request = printed[printed.index("curl ") : printed.index("\n\nUsers:")]
        answer = subprocess.run(["bash", "-c", request], capture_output=True, text=True, check=True)
        assert '"error_code":0' in answer.stdout
        identity = answer.stdout.split('"')[-2]
        followed = []
        for line in process.stdout:
            followed.append(line.split(maxsplit=1)[1] if line.strip() else "")
            if f"{identity} delivered" in line:
                break
        shown = "".join(followed)
        assert "anna@players.example gets “Hello”" in shown
        assert f"callback {identity} accepted" in shown
        command = printed[printed.index("messages:\n\n") + 11 : printed.index("\n\nCallbacks")]
        seen = subprocess.run(["bash", "-c", command], env=plain, capture_output=True, text=True, check=True)
        assert identity in seen.stdout
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    assert (process.returncode, rest.splitlines()[-1]) == (0, "Ending …")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_status_that_does_not_come_is_named_and_ends_with_one(monkeypatch):
    wrong = requests.DemoRequest(
        title="An email",
        channel=requests.REPEATED_REQUEST.channel,
        fields=requests.REPEATED_REQUEST.fields,
        statuses=(Status.ACCEPTED, Status.DELIVERED, Status.OPENED),
    )
    monkeypatch.setattr(run, "REQUESTS", (wrong,))
    wait_for = Smartico.wait_for

    async def impatient(self, message, status, **how):
        # This one alone: those that do come may be late on a busy machine.
        return await wait_for(self, message, status, **how | ({"timeout": 0.1} if status == "opened" else {}))

    monkeypatch.setattr(Smartico, "wait_for", impatient)

    ended = CliRunner().invoke(demo.command, ["--exit"])

    assert ended.exit_code == 1
    assert "1 of 2 requests did not go as they should" in ended.output
    assert "no 'opened' in 0.1 s; received: accepted, delivered" in ended.output


def test_an_emulator_that_is_for_the_kit_alone_is_refused():
    result = CliRunner().invoke(demo.command, ["--provider", "smtp"])
    assert result.exit_code == 1
    assert "the emulator of smtp is for `gatepost conformance` only" in result.output
    assert "DemoProvider" in result.output


def test_a_plugin_that_sends_nothing_is_refused():
    result = CliRunner().invoke(demo.command, ["--exit", "--provider", "csv"])

    assert result.exit_code == 1
    assert "csv sends no messages: name a plugin that sends email or text messages" in result.output


def test_a_plugin_that_is_missing_is_named(monkeypatch):
    source = discovery.installed()["csv"]
    monkeypatch.setattr(discovery, "installed", lambda: {"csv": source})

    ended = CliRunner().invoke(demo.command, ["--exit", "--provider", "vonage"])

    assert ended.exit_code == 1
    assert "pip install ./plugins/sandbox ./plugins/vonage" in ended.output


@pytest.mark.slow
def test_the_console_is_shown_with_a_day_of_traffic(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "--console"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if "Ctrl-C ends" in line:
                break
        config = printed[printed.index("--config ") + 9 :].splitlines()[0]
        counts = sample_day(Path(config).with_name("gatepost.db"))
        log = Path(config).with_suffix(".log").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)

    assert (process.returncode, rest.splitlines()[-1]) == (0, "Ending …")
    assert list(tmp_path.iterdir()) == []
    assert counts["client"].keys() == {"amazing", "lucky", "nordic"}
    assert sum(counts["client"].values()) > 2_000
    assert counts["state"].keys() >= {"sent", "rejected", "failed", "held", "queued", "cancelled"}
    assert counts["status"].keys() == {status.value for status in Status}
    assert counts["callback_state"].keys() >= {"acknowledged", "dead"}
    assert counts["outcome"].keys() == {"sent", "rejected", "unavailable", "uncertain"}
    assert counts["code"].keys() >= {Code.USER_NOT_FOUND, Code.MUST_NOT_CONTACT}
    assert counts["operation"].keys() >= {"pause", "resume", "cancel", "retry", "suppress-add"}
    assert counts["plugin"] == {"": 1}
    assert counts["suppressed"].keys() == {"complained", "unsubscribed"}
    for brand in BRANDS:
        for player in brand.players():
            assert player.email not in log
            assert player.phone.removeprefix("+") not in log


def sample_day(database):
    """Return how many rows of the store of the demo have which value."""
    columns = {
        "client": "messages",
        "state": "messages",
        "status": "statuses",
        "callback_state": "statuses",
        "outcome": "attempts",
        "code": "refusals",
        "operation": "audit",
        "plugin": "pauses",
        "reason AS suppressed": "suppressions",
    }
    with closing(sqlite3.connect(database, timeout=10)) as store:
        return {
            column.split()[-1]: dict(store.execute(f"SELECT {column}, count(*) FROM {table} GROUP BY 1"))
            for column, table in columns.items()
        }


def test_the_console_needs_its_extra(monkeypatch):
    monkeypatch.setattr(console_faults, "find_spec", lambda name: name != "jinja2")
    ended = CliRunner().invoke(demo.command, ["--console", "--exit"])
    assert ended.exit_code == 1
    assert "pip install '.[console]'" in ended.output


def test_the_console_is_shown_with_the_sandbox_alone():
    ended = CliRunner().invoke(demo.command, ["--console", "--provider", "http"])
    assert ended.exit_code == 2
    assert "don't go together" in ended.output
