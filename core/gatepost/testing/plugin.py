"""The pytest plugin: names at the end of a run what the conformance suites do not declare and so do not check.

pytest loads it wherever Gatepost is installed; it does nothing in runs without a suite. With pytest-xdist
only the workers collect the suites: they pass their lines to the process that reports.
"""

import sys
from typing import Any

import pytest

_KEY = "gatepost_conformance"
_suites = pytest.StashKey[dict[str, tuple[type[Any], int]]]()
_lines = pytest.StashKey[dict[str, str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember the suites in this run, and the number of checks of each."""
    module = sys.modules.get("gatepost.testing.suites")
    if module is None:
        return
    found = config.stash.setdefault(_suites, {})
    for item in items:
        suite = getattr(item, "cls", None)
        if isinstance(suite, type) and issubclass(suite, module.PluginSuite):
            name = item.nodeid.partition("::test_")[0]
            found[name] = suite, found.get(name, (suite, 0))[1] + 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the lines for the report; a worker of pytest-xdist passes them on."""
    lines = session.config.stash.setdefault(_lines, {})
    for name, (suite, count) in session.config.stash.get(_suites, {}).items():
        undeclared = sys.modules["gatepost.testing.suites"].undeclared(suite)
        lines[name] = f"{name}: {count} checks; not declared: {', '.join(undeclared) or 'nothing'}"
    output: dict[str, object] = getattr(session.config, "workeroutput", {})
    output[_KEY] = lines


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over a worker's lines; every worker has collected all tests."""
    lines: dict[str, str] = getattr(node, "workeroutput", {}).get(_KEY, {})
    node.config.stash.setdefault(_lines, {}).update(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what the suites of this run do not check."""
    lines = config.stash.get(_lines, {})
    if not lines:
        return
    terminalreporter.section("gatepost conformance")
    for line in lines.values():
        terminalreporter.line(line)
