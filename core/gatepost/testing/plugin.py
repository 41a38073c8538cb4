"""The pytest plugin: says at the end of a run which conformance was not declared, and so not checked.

pytest loads it by itself wherever Gatepost is installed; it does nothing in runs without a suite.
"""

import sys
from typing import Any

import pytest

_suites = pytest.StashKey[dict[str, tuple[type[Any], int]]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember which suites are in this run, and with how many checks."""
    module = sys.modules.get("gatepost.testing.suites")
    if module is None:
        return
    found = config.stash.setdefault(_suites, {})
    for item in items:
        suite = getattr(item, "cls", None)
        if isinstance(suite, type) and issubclass(suite, module.PluginSuite):
            name = item.nodeid.partition("::test_")[0]
            found[name] = suite, found.get(name, (suite, 0))[1] + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what the suites of this run left out."""
    found = config.stash.get(_suites, {})
    if not found:
        return
    terminalreporter.section("gatepost conformance")
    for name, (suite, count) in found.items():
        lacking = sys.modules["gatepost.testing.suites"].undeclared(suite)
        terminalreporter.line(f"{name}: {count} checks; not declared: {', '.join(lacking) or 'nothing'}")
