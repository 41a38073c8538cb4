"""``gatepost check --plugin NAME``: the checks of the conformance kit that need no emulated provider."""

import asyncio
import tomllib
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gatepost.cli.common import fail, plural, printable
from gatepost.config.settings import CORE_KEYS
from gatepost.errors import ConfigError
from gatepost.hookspecs import SEND_HOOKS
from gatepost.plugin_host import discovery
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.standalone import CheckResult, run_check, standalone_checks


def report(path: Path, name: str, *, live: bool) -> int:
    """Check the instance, or the only one whose `use` is this name; print the results, return the exit code."""
    harness = _harness(path, name)
    results = asyncio.run(_run_checks(harness, live=live))
    grid = Grid.grid(padding=(0, 1))
    for result in results:
        mark = Text("✗", "bold red") if result.problem else Text("✓", "green")
        text = Text(result.check.summary)
        if result.problem:
            text.append(f"\n{printable(result.problem)}", "red")
        grid.add_row("", mark, Text(result.check.id, "bold"), text)
    console = Console(highlight=False)
    console.print(grid)
    failed = sum(bool(result.problem) for result in results)
    console.print(
        f"{plural(len(results), 'check')}, {failed} failed", style="bold red" if failed else "green"
    )
    if sends := [hook for hook in SEND_HOOKS.values() if implements(harness.plugin, hook)]:
        console.print(
            f"Not checked: {', '.join(sends)}, and what reports mean. These checks need an emulated "
            "provider, as in the plugin's own tests (gatepost.testing.suites)."
        )
    return 1 if failed else 0


async def _run_checks(harness: Harness, *, live: bool) -> list[CheckResult]:
    return [await run_check(harness, check) for check in standalone_checks(harness.plugin, live=live)]


def _harness(path: Path, name: str) -> Harness:
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
        harness.settings()
    except ConfigError as error:
        fail(f"plugins.{found[0]}: {error}")
    return harness


def _instances_of(tables: dict[str, Any], use: str) -> list[str]:
    return [name for name, table in tables.items() if isinstance(table, dict) and table.get("use") == use]
