"""`gatepost conformance`: the kit as a command, its reports, its badge, and the run against a real provider."""

import asyncio
import json
import re
import xml.etree.ElementTree as ET
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner

from gatepost import cli
from gatepost.cli import conformance
from gatepost.cli.saved_report import saved_report
from gatepost.hookspecs import hookimpl
from gatepost.plugin_host import discovery
from gatepost.testing import emulators
from gatepost.testing.conformance import kit
from gatepost.testing.conformance.report import CheckRecord, Level, LiveRecord, Report, badge
from gatepost.testing.conformance.runner import CaseOutcome
from gatepost_sendgrid import SendGrid
from gatepost_sendgrid.testing import SendGridEmulator

RECIPIENT = "quincy.featherstone@people.example"


class Forgetful(SendGrid):
    """SendGrid with one fault: a message is cut."""

    @hookimpl
    async def send_email(self, message):
        return await super().send_email(type(message)(**{**_fields(message), "html": message.html[:20]}))


def _fields(message):
    return {name: getattr(message, name) for name in type(message).__struct_fields__}


class DemoOnly:
    """What ``gatepost demo`` needs of an emulator, and no more."""

    webhook_url = ""
    table = {}

    def arrivals(self):
        return []


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.load("conformance"), arguments)


def installed(monkeypatch, plugin):
    """Let the name ``sendgrid`` stand for another class."""
    monkeypatch.setattr(discovery, "load", lambda use: plugin)


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package of its own for the plugin, so that no report of the checkout is replaced; its report."""
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(conformance, "saved_report", lambda entry: folder / "conformance.json")
    return folder / "conformance.json"


def quick(monkeypatch, *groups):
    """Leave out all checks but those of some groups."""
    every = kit.cases_of
    monkeypatch.setattr(
        kit,
        "cases_of",
        lambda harness: {n: c for n, c in every(harness).items() if n.split(".")[0] in groups},
    )


def report(*checks, **fields):
    return Report(
        **{
            "plugin": "acme",
            "distribution": "acme-gatepost",
            "version": "1.0",
            "hooks": ["send_sms"],
            "declared": ["refuse", "throttle", "outage", "deny", "lose"],
            "checks": checks or [CheckRecord("send.success-sms", CaseOutcome.PASSED)],
            **fields,
        }
    )


GOOD_RUN = LiveRecord("2026-11-27", pinged=True, sent=1, failed=0)


@pytest.mark.parametrize(
    ("given", "level"),
    [
        ({"declared": []}, Level.BRONZE),
        ({}, Level.SILVER),
        ({"hooks": ["send_sms", "parse_webhook"]}, Level.BRONZE),
        ({"live": GOOD_RUN}, Level.SILVER),
        ({"documentation": "https://acme.example/docs"}, Level.SILVER),
        ({"live": GOOD_RUN, "documentation": "https://acme.example/docs"}, Level.GOLD),
        (
            {"live": LiveRecord("2026-11-27", pinged=True, sent=0, failed=0), "documentation": "x"},
            Level.SILVER,
        ),
        (
            {"live": LiveRecord("2026-11-27", pinged=False, sent=1, failed=0), "documentation": "x"},
            Level.SILVER,
        ),
        (
            {"live": LiveRecord("2026-11-27", pinged=True, sent=1, failed=1), "documentation": "x"},
            Level.SILVER,
        ),
    ],
)
def test_the_level_is_what_was_proved(given, level):
    it = report(**given)
    assert it.level is level
    assert bool(it.missing(Level.GOLD)) is (level is not Level.GOLD)


def test_a_failed_check_leaves_no_level():
    it = report(CheckRecord("send.content-sms", CaseOutcome.FAILED, "cut"))
    assert (it.level, it.next_level, it.missing(Level.BRONZE)) == (
        Level.NONE,
        Level.BRONZE,
        ["send.content-sms fails"],
    )


def test_the_badge_is_an_image_that_says_the_level():
    image = ET.fromstring(badge(report()))
    assert image.tag.endswith("svg")
    assert "silver" in "".join(image.itertext())


def test_a_good_plugin_passes_and_its_report_can_be_saved(run, monkeypatch, tmp_path, package):
    quick(monkeypatch, "plugin", "settings", "ping", "webhooks")
    result = run("sendgrid", "--save", "--badge", "badge.svg")

    assert result.exit_code == 0, result.output
    assert "Level: silver" in result.output
    saved = json.loads(package.read_text())
    assert (saved["plugin"], saved["level"]) == ("sendgrid", "silver")
    assert {one["outcome"] for one in saved["checks"]} == {"passed"}
    assert "silver" in (tmp_path / "badge.svg").read_text()


def test_json_is_all_that_stdout_holds(run, monkeypatch):
    quick(monkeypatch, "plugin")
    result = run("sendgrid", "--json")
    assert json.loads(result.stdout)["kit"] == 2


def test_a_wrong_plugin_fails_with_what_to_read_first(run, monkeypatch, package):
    installed(monkeypatch, Forgetful)
    quick(monkeypatch, "plugin", "send")
    result = run("sendgrid", "--save")

    assert result.exit_code == 1
    assert "The report is not saved" in result.output
    assert not package.exists()
    first = re.search(r"Read first: (\S+)", result.output)[1]
    assert first.startswith("send.")
    assert f"✗ {first}" in result.output
    assert "cut, strip, escape and convert nothing" in " ".join(result.output.split())
    assert "Level: none" in result.output


# The sandbox has no account that could be refused or throttled.
@pytest.mark.parametrize(
    ("plugin", "level"), [("csv", "silver"), ("http", "silver"), ("sandbox", "bronze"), ("smtp", "silver")]
)
def test_a_plugin_is_checked_whole(run, plugin, level):
    result = run(plugin, "--json")
    assert result.exit_code == 0, result.output
    assert f"Level: {level}" in result.stderr
    # Byte for byte, on any machine and on any day: `make reports` has written it.
    assert result.stdout == saved_report(discovery.installed()[plugin]).read_text()


def test_a_plugin_that_is_no_package_can_not_hold_a_report(run, monkeypatch):
    quick(monkeypatch, "plugin")
    monkeypatch.setattr(conformance, "saved_report", lambda entry: None)
    result = run("sendgrid", "--save")
    assert result.exit_code == 1
    assert "make it a package" in result.output


def test_an_emulator_for_the_demo_alone_is_none_for_the_kit(run, monkeypatch):
    monkeypatch.setattr(emulators, "create", lambda use: DemoOnly())
    result = run("sendgrid")
    assert result.exit_code == 1
    assert "offers no emulator" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sendgird"], "no such plugin is installed"),
        (["sendgrid", "--to", RECIPIENT], "--live"),
        (["sendgrid", "--live", "main", "--send"], "--send needs a recipient"),
        (["sendgrid", "--live", "main", "--to", "quincy"], "--to number 1 is neither"),
    ],
)
def test_what_can_not_be_run_is_said(run, arguments, says):
    result = run(*arguments)
    assert result.exit_code == 1
    assert says in result.output
    assert "quincy" not in result.output


def test_a_plugin_without_an_emulator_is_not_run(run, monkeypatch):
    monkeypatch.setattr(emulators, "installed", dict)
    result = run("http")
    assert result.exit_code == 1
    assert "offers no emulator" in result.output


def test_an_emulator_that_can_not_be_imported_is_named(run, monkeypatch):
    entry = EntryPoint("sendgrid", "gatepost_sendgrid.nowhere:Emulator", "gatepost.emulators")
    monkeypatch.setattr(emulators, "installed", lambda: {"sendgrid": entry})
    result = run("sendgrid")
    assert result.exit_code == 1
    assert "gatepost_sendgrid.nowhere" in result.output


class TestLive:
    @pytest.fixture
    async def account(self, tmp_path):
        """An emulator that stands for a real account, configured as the instance ``main``."""
        async with SendGridEmulator() as provider:
            table = "".join(f'{key} = "{value}"\n' for key, value in provider.table.items())
            (tmp_path / "gatepost.toml").write_text(f'[plugins.main]\nuse = "sendgrid"\n{table}')
            yield provider

    async def run(self, run, *arguments):
        return await asyncio.to_thread(run, "sendgrid", "--live", "main", *arguments)

    async def test_nothing_is_sent_unless_it_is_ordered(self, run, monkeypatch, account):
        quick(monkeypatch, "plugin")
        result = await self.run(run, "--to", RECIPIENT, "--from", "news@amazing.example")
        assert result.exit_code == 0, result.output
        assert "would be sent one message" in result.output
        assert account.taken == []
        assert ("GET", "/v3/scopes") in account.requests

    async def test_one_message_goes_to_each_recipient_that_is_named(self, run, monkeypatch, account, package):
        quick(monkeypatch, "plugin")
        result = await self.run(run, "--to", RECIPIENT, "--from", "news@amazing.example", "--send", "--save")
        assert result.exit_code == 0, result.output
        assert [account.received(one).recipients for one in account.taken] == [[RECIPIENT]]
        saved = package.read_text()
        assert json.loads(saved)["live"]["sent"] == 1
        assert RECIPIENT not in saved + result.output

    async def test_a_refusal_fails_the_run_and_names_nobody(self, run, monkeypatch, account):
        quick(monkeypatch, "plugin")
        account.senders = frozenset()
        result = await self.run(run, "--to", RECIPIENT, "--from", "news@amazing.example", "--send")
        assert result.exit_code == 1
        assert "403" in result.output
        assert RECIPIENT not in result.output
