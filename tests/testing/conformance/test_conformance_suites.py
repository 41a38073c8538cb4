"""What a suite declares, the tests that pytest makes of it, and `gatepost check --plugin`."""

import re
import subprocess
import sys
from contextlib import asynccontextmanager

import pluggy
import pytest
from click.testing import CliRunner

from gatepost import hookspecs
from gatepost.cli import main
from gatepost.model import Channel
from gatepost.testing import suites
from gatepost.testing.conformance.declaration import standalone_cases
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import GROUPS, Group, checks, checks_of
from gatepost.testing.conformance.runner import CaseOutcome, run_cases
from gatepost_example import Example


class EmailOnly(suites.EmailSuite, suites.LifespanSuite):
    plugin = Example
    failure_modes = {suites.FailureMode.REFUSE}


class Everything(
    suites.BatchSuite,
    suites.ContactsSuite,
    suites.EmailSuite,
    suites.LifespanSuite,
    suites.PingSuite,
    suites.SmsSuite,
    suites.UserFinderSuite,
    suites.WebhookSuite,
):
    plugin = Example
    failure_modes = set(suites.FailureMode)
    message_features = set(suites.MessageFeature)
    contact_features = set(suites.ContactFeature)
    report_features = set(suites.ReportFeature)


def test_everything_that_is_declared_is_checked_and_sending_once_a_channel():
    cases = suites.cases(Everything)

    assert {case.check.id for case in cases.values()} == checks().keys()
    sends = [case.channel for case in cases.values() if case.check.group is Group.SEND]
    assert sends.count(Channel.EMAIL) == sends.count(Channel.SMS) == len(sends) / 2
    assert suites.undeclared(Everything) == []


def test_features_that_are_not_declared_are_named_and_not_checked():
    cases = suites.cases(EmailOnly)

    assert "send.refused-email" in cases
    assert not {"send.refused-sms", "send.hang-email", "ping.success", "webhooks.status_type"} & cases.keys()
    named = suites.undeclared(EmailOnly)
    assert "hang" in named
    assert "find_contact (ContactsSuite), WHICH THE PLUGIN IMPLEMENTS" in named
    assert "refuse" not in named


class IdsSigned(suites.SmsSuite, suites.WebhookSuite):
    plugin = Example
    report_features = {suites.ReportFeature.IDS_SIGNED}


class NothingSigned(suites.SmsSuite, suites.WebhookSuite):
    plugin = Example


def test_a_check_can_run_where_one_of_two_features_is_declared():
    assert "webhooks.unsigned_query" in suites.cases(IdsSigned)
    assert "webhooks.unsigned_query" not in suites.cases(NothingSigned)
    assert {"body signed", "ids signed"} <= set(suites.undeclared(NothingSigned))


def test_every_hook_has_a_suite_with_checks():
    marked = pluggy.PluginManager(hookspecs.PROJECT)
    marked.add_hookspecs(hookspecs.Hooks)
    hooks = {name for name in vars(marked.hook) if not name.startswith("_")}

    assert {suite.hook for suite in suites.SUITES} - {""} == hooks == GROUPS.keys()
    assert all(checks_of([group]) for groups in GROUPS.values() for group in groups)


SUITE = """
import pytest
from gatepost.hookspecs import hookimpl
from gatepost.testing.suites import ContactsSuite, FailureMode, LifespanSuite
from gatepost_sandbox import Sandbox


class Exits(Sandbox):
    @hookimpl
    async def find_contact(self, ext_user_id):
        raise SystemExit(3)


class TestMissing(ContactsSuite):
    plugin = Sandbox
    failure_modes = {FailureMode.UNREACHABLE}

    @pytest.fixture
    def table(self):
        return {"folder": "mail"}


class TestExits(TestMissing):
    plugin = Exits


class TestNowhere(LifespanSuite):
    plugin = Sandbox
    failure_modes = {FailureMode.UNREACHABLE}

    @pytest.fixture
    def table(self):
        return {"folder": "mail"}
"""


@pytest.fixture(params=[(), ("-n", "1")], ids=["here", "in a worker"])
def a_suite(tmp_path, request):
    """pytest's report on a suite that declares what its plugin does not have, from a process of its own."""
    (tmp_path / "test_it.py").write_text(SUITE)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-rfs",
            *request.param,
            str(tmp_path),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_the_report_begins_with_what_to_mend_first(a_suite):
    report = a_suite.partition(" gatepost conformance ")[2].splitlines()[1:]

    assert re.fullmatch(
        r"Read first: test_it.py::Test\w+ .*\([0-9]+ other checks can't be judged before\)", report[0]
    )
    exits = next(line for line in report if "TestExits" in line)
    assert "contacts.known_user" in exits
    assert "SystemExit" in exits
    missing = next(line for line in report if "TestMissing" in line)
    assert "plugin.declared_hooks" in missing
    assert "has no hook find_contact" in missing


def test_a_failure_says_what_is_wrong_what_was_expected_and_what_to_do(a_suite):
    assert "has no hook find_contact" in a_suite
    assert (
        "Have every hook that its suites declare. Write the missing hook, or leave its suite out" in a_suite
    )


def test_what_is_not_declared_is_named(a_suite):
    assert "send_email (EmailSuite), WHICH THE PLUGIN IMPLEMENTS" in a_suite


def test_a_declared_feature_that_is_missing_is_a_failure(a_suite):
    assert re.search(r"lifespan.provider_down: it raised NotImplementedError|table_for_port", a_suite)


def test_one_cause_is_one_failure(a_suite):
    failed = re.findall(r"^FAILED test_it.py::(\w+)::test_conformance\[(.+?)\]", a_suite, re.MULTILINE)

    assert sorted(failed) == [
        ("TestExits", "contacts.known_user"),
        ("TestMissing", "plugin.declared_hooks"),
        ("TestNowhere", "lifespan.provider_down"),
    ]
    assert "not judged: mend contacts.known_user first" in a_suite


CONFIG = """
[plugins.players]
use = "csv"
path = "players.csv"

[plugins.box]
use = "sandbox"
folder = "mail"
webhook_secret = "a secret of the sandbox"
"""


@pytest.fixture
def gatepost(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "gatepost.toml").write_text(CONFIG)

    def run(*arguments):
        return CliRunner().invoke(main, arguments)

    return run


@pytest.mark.parametrize("name", ["players", "csv"])
def test_a_configured_plugin_is_checked_without_tests(gatepost, tmp_path, name):
    (tmp_path / "players.csv").write_text("ext_user_id,email,phone\n1,anna@people.example,\n")

    result = gatepost("check", "--plugin", name)

    assert result.exit_code == 0, result.output
    assert "contacts.hostile_ids" in result.output
    assert "22 checks, 0 failed" in result.output
    assert "Not checked" not in result.output


def test_checks_that_need_a_provider_are_named(gatepost):
    result = gatepost("check", "--plugin", "box", "--live")

    assert result.exit_code == 0, result.output
    assert "ping.success" in result.output
    assert "Not checked: send_email, send_sms" in result.output
    assert "a secret of the sandbox" not in result.output


def test_a_plugin_that_fails_says_where(gatepost):
    result = gatepost("check", "--plugin", "players")

    assert result.exit_code == 1
    assert "players.csv" in result.output
    assert checks()["plugin.starts"].advice in result.output
    assert "Traceback" not in result.output


class AnotherNumber(Example):
    api_version = 99


class Breaking(Example):
    def __init__(self, settings, context):
        raise RuntimeError("with a secret of the sandbox in it")


@pytest.mark.parametrize(
    ("plugin", "says", "causes"),
    [
        (AnotherNumber, "api_version is 99", set()),
        (Breaking, "it raised RuntimeError at test_conformance_suites.py:", {"plugin.starts"}),
    ],
)
async def test_a_check_without_tests_can_fail(plugin, says, causes):
    harness = Harness(plugin=plugin, table={"api_key": "some"})

    @asynccontextmanager
    async def same():
        yield harness

    results = [result async for result in run_cases(standalone_cases(harness), same)]

    problems = [result.problem for result in results if result.outcome is CaseOutcome.FAILED]
    assert len(problems) == 1
    assert says in problems[0]
    assert {result.cause for result in results if result.outcome is CaseOutcome.NOT_JUDGED} == causes
    assert "secret of the sandbox" not in problems[0]


def test_a_plugin_that_is_not_configured(gatepost):
    result = gatepost("check", "--plugin", "sendgrid")

    assert result.exit_code == 1
    assert "there are: box, players" in result.output
