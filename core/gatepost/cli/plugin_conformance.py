"""``gatepost check --plugin NAME``: the checks of the conformance kit that need no emulated provider."""

import asyncio
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gatepost.cli.common import fail, printable
from gatepost.config.settings import CORE_KEYS
from gatepost.errors import ConfigError
from gatepost.hookspecs import HOOKS, SEND_HOOKS
from gatepost.plugin_host import discovery
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.declaration import standalone_cases
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Group
from gatepost.testing.conformance.runner import CaseOutcome, CaseResult, run_cases
from gatepost.web.admin.words import plural

MARKS = {
    CaseOutcome.PASSED: Text("✓", "green"),
    CaseOutcome.FAILED: Text("✗", "bold red"),
    CaseOutcome.NOT_JUDGED: Text("-", "yellow"),
}


def report(path: Path, name: str, *, live: bool) -> int:
    """Check the instance, or the only one whose `use` is this name; print the results, return the exit code."""
    harness = configured_harness(path, name)
    results = asyncio.run(_run_checks(harness, live=live))
    grid = Grid.grid(padding=(0, 1))
    for result in results:
        text = Text(result.case.check.summary)
        if result.outcome is CaseOutcome.FAILED:
            text.append(f"\n{printable(result.problem)}", "red").append(f"\n{result.case.check.advice}")
        elif result.outcome is CaseOutcome.NOT_JUDGED:
            text.append(f"\nnot judged: {result.cause} fails", "yellow")
        grid.add_row("", MARKS[result.outcome], Text(result.case.id, "bold"), text)
    console = Console(highlight=False)
    console.print(grid)
    failed = sum(result.outcome is CaseOutcome.FAILED for result in results)
    console.print(
        f"{plural(len(results), 'check')}, {failed} failed", style="bold red" if failed else "green"
    )
    if sends := [hook for hook in SEND_HOOKS.values() if hook in harness.hooks]:
        console.print(
            f"Not checked: {', '.join(sends)}, and what reports mean. These checks need an emulated "
            "provider, as in the plugin's own tests (gatepost.testing.suites)."
        )
    return 1 if failed else 0


async def _run_checks(harness: Harness, *, live: bool) -> list[CaseResult]:
    @asynccontextmanager
    async def same() -> AsyncIterator[Harness]:
        yield harness

    found = {
        name: case
        for name, case in standalone_cases(harness).items()
        if live or case.check.group is not Group.PING
    }
    return [result async for result in run_cases(found, same)]


def configured_harness(path: Path, name: str) -> Harness:
    """Return a harness for the instance; end the command where there is no such instance."""
    try:
        tables = tomllib.loads(path.read_text("utf-8")).get("plugins", {})
    except (OSError, ValueError):
        fail(f"{path} can't be read as TOML; gatepost check says more")
    found = [one for one in (name, *_instances_of(tables, name)) if isinstance(tables.get(one), dict)]
    if not found:
        existing = ", ".join(sorted(printable(one) for one in tables)) or "none"
        fail(f"{path} has no [plugins.{printable(name)}]; there are: {existing}")
    if found[0] != name and len(found) > 1:
        fail(f"several instances use that plugin; name one: {', '.join(found)}")
    table: dict[str, Any] = tables[found[0]]
    try:
        harness = Harness(
            plugin=discovery.load(str(table.get("use"))),
            table={key: value for key, value in table.items() if key not in CORE_KEYS},
            base=path.parent.resolve(),
        )
        instance = harness.make_plugin()
    except ConfigError as error:
        fail(f"plugins.{found[0]}: {error}")
    # The instance's, because one may lack hooks of its class.
    return replace(harness, hooks=[hook for hook in HOOKS if implements(instance, hook)])


def _instances_of(tables: dict[str, Any], use: str) -> list[str]:
    return [name for name, table in tables.items() if isinstance(table, dict) and table.get("use") == use]
