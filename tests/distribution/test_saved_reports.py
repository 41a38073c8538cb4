"""The conformance reports in the packages of the shipped plugins: `make reports` writes them again."""

from importlib.metadata import distribution
from pathlib import Path

import msgspec
import pytest

from gatepost.cli.saved_report import saved_report
from gatepost.hookspecs import API_VERSION
from gatepost.plugin_host import discovery
from gatepost.testing import emulators
from gatepost.testing.conformance import kit
from gatepost.testing.conformance.declaration import cases_of
from gatepost.testing.conformance.report import Report, encode
from gatepost.testing.conformance.runner import CaseOutcome

PLUGINS = Path(__file__).parents[2] / "plugins"
EMULATED = sorted(
    {project.parent.name for project in PLUGINS.glob("*/pyproject.toml")} & emulators.installed().keys()
)
STALE = "run make reports, and commit what has changed"


@pytest.fixture(params=EMULATED)
def use(request):
    return request.param


@pytest.fixture
def content(use):
    return saved_report(discovery.installed()[use]).read_bytes()


@pytest.fixture
def report(content):
    return msgspec.json.decode(content, type=Report)


def test_the_report_is_as_the_command_writes_it(report, content):
    assert encode(report) == content, STALE


def test_the_report_is_of_this_version_and_of_this_kit(report, use):
    own = distribution(f"gatepost-{use}")
    assert (report.plugin, report.distribution) == (use, own.name)
    assert (report.version, report.kit) == (own.version, API_VERSION), STALE


async def test_the_report_has_every_check_of_what_is_declared_and_no_other(report, use):
    async with kit.find(use).harness() as harness:
        assert list(report.hooks) == list(harness.hooks), STALE
        assert list(report.declared) == sorted(map(str, harness.declared)), STALE
        assert [one.id for one in report.checks] == list(cases_of(harness)), STALE


def test_every_check_has_passed(report):
    assert {one.outcome for one in report.checks} == {CaseOutcome.PASSED}
