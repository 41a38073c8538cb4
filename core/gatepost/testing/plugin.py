"""The pytest plugin: fixtures for the tests of a plugin, and a report on the conformance suites in a run.

pytest loads it wherever Gatepost is installed; it reports nothing in runs without a suite. The report begins with the
failures that must be mended first, and names what the suites do not declare and so do not check. With pytest-xdist only
the workers collect the suites: they pass their lines to the process that reports.
"""

import sys
from collections import Counter
from typing import Any, cast

import pytest

from gatepost.testing.fixtures import (
    core,
    email,
    make_plugin,
    plugin,
    provider,
    reported,
    running,
    signed,
    sms,
    table,
)

__all__ = [
    "core",
    "email",
    "make_plugin",
    "plugin",
    "provider",
    "reported",
    "running",
    "signed",
    "sms",
    "table",
]

RESULT = "gatepost_conformance"
"""The property of a test that holds the id of its case, what became of it, and the cause or the problem."""

_suites = pytest.StashKey[dict[str, tuple[type[Any], int]]]()
_lines = pytest.StashKey[dict[str, str]]()


class ConformanceReport:
    """The results of the suites in this run; kept where pytest reports, not in the workers."""

    def __init__(self) -> None:
        self._results: dict[str, dict[str, tuple[str, str]]] = {}
        """What became of each case, and its problem or cause, by suite and id of the case."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the result of a case."""
        for name, value in report.user_properties if report.when == "call" else ():
            if name == RESULT:
                case, outcome, text = cast("tuple[str, str, str]", value)
                self._results.setdefault(suite_name(report.nodeid), {})[case] = outcome, text

    def lines(self) -> list[str]:
        """Return a line for each failure, those first that keep most others from being judged."""
        found = []
        for suite, results in self._results.items():
            held_back = Counter(text for outcome, text in results.values() if outcome == "not judged")
            failed = {case: text for case, (outcome, text) in results.items() if outcome == "failed"}
            for case in sorted(failed, key=lambda case: -held_back[case]):
                count = held_back[case]
                others = f" ({count} other checks can't be judged before)" if count else ""
                found.append((count, f"{suite} {case}: {failed[case]}{others}"))
        return [line for _, line in sorted(found, key=lambda one: -one[0])]


def suite_name(nodeid: str) -> str:
    """Return the name of a suite from that of one of its tests."""
    return nodeid.partition("::test_")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Take part in the reporting."""
    config.pluginmanager.register(ConformanceReport(), RESULT)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember the suites in this run, and the number of checks of each."""
    module = sys.modules.get("gatepost.testing.suites")
    if module is None:
        return
    found = config.stash.setdefault(_suites, {})
    for item in items:
        suite = getattr(item, "cls", None)
        if isinstance(suite, type) and issubclass(suite, module.PluginSuite):
            name = suite_name(item.nodeid)
            found[name] = suite, found.get(name, (suite, 0))[1] + 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the lines for the report; a worker of pytest-xdist passes them on."""
    lines = session.config.stash.setdefault(_lines, {})
    for name, (suite, count) in session.config.stash.get(_suites, {}).items():
        undeclared = sys.modules["gatepost.testing.suites"].undeclared(suite)
        lines[name] = f"{name}: {count} checks; not declared: {', '.join(undeclared) or 'nothing'}"
    output: dict[str, object] = getattr(session.config, "workeroutput", {})
    output[RESULT] = lines


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over a worker's lines; every worker has collected all tests."""
    lines: dict[str, str] = getattr(node, "workeroutput", {}).get(RESULT, {})
    node.config.stash.setdefault(_lines, {}).update(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the failures to begin with, and what the suites of this run do not check."""
    lines = config.stash.get(_lines, {})
    if not lines:
        return
    terminalreporter.section("gatepost conformance")
    report: Any = config.pluginmanager.get_plugin(RESULT)
    for place, line in enumerate(report.lines()):
        terminalreporter.line(f"{'Read first: ' if place == 0 else 'Then: '}{line}")
    for line in lines.values():
        terminalreporter.line(line)
