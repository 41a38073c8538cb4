"""``gatepost check --plugin NAME``: what of the conformance kit needs no tests of the plugin's own."""

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
from gatepost.testing.conformance.bench import Bench
from gatepost.testing.conformance.unattended import Verdict, applicable, judge


def report(path: Path, name: str, *, live: bool) -> int:
    """Check the instance, or the only one of the kind, and print what came of it; returns the exit code."""
    bench = _bench(path, name)
    verdicts = asyncio.run(_judged(bench, live=live))
    grid = Grid.grid(padding=(0, 1))
    for verdict in verdicts:
        mark = Text("✗", "bold red") if verdict.problem else Text("✓", "green")
        text = Text(verdict.check.summary)
        if verdict.problem:
            text.append(f"\n{printable(verdict.problem)}", "red")
        grid.add_row("", mark, Text(verdict.check.id, "bold"), text)
    console = Console(highlight=False)
    console.print(grid)
    failed = sum(bool(verdict.problem) for verdict in verdicts)
    console.print(
        f"{plural(len(verdicts), 'check')}, {failed} failed", style="bold red" if failed else "green"
    )
    if sends := [hook for hook in SEND_HOOKS.values() if implements(bench.plugin, hook)]:
        console.print(
            f"Not checked: {', '.join(sends)}, and what reports mean. That takes a provider to try it on, "
            "as the plugin's own tests have one (gatepost.testing.suites)."
        )
    return 1 if failed else 0


async def _judged(bench: Bench, *, live: bool) -> list[Verdict]:
    return [await judge(bench, check) for check in applicable(bench.plugin, live=live)]


def _bench(path: Path, name: str) -> Bench:
    """The instance's class with its table; ends the command where there is none."""
    try:
        tables = tomllib.loads(path.read_text("utf-8")).get("plugins", {})
    except (OSError, ValueError):
        fail(f"{path} can't be read as TOML; gatepost check says more")
    found = [one for one in (name, *_of_kind(tables, name)) if isinstance(tables.get(one), dict)]
    if not found:
        there = ", ".join(sorted(printable(one) for one in tables)) or "none"
        fail(f"{path} has no [plugins.{printable(name)}]; there are: {there}")
    if found[0] != name and len(found) > 1:
        fail(f"several instances are of that kind; name one: {', '.join(found)}")
    table: dict[str, Any] = tables[found[0]]
    try:
        discovery.settings_type(str(table.get("use")))
        plugin = discovery.installed()[str(table.get("use"))].load()
        bench = Bench(
            plugin=plugin,
            table={key: value for key, value in table.items() if key not in CORE_KEYS},
            base=path.parent.resolve(),
        )
        bench.settings()
    except ConfigError as error:
        fail(f"plugins.{found[0]}: {error}")
    return bench


def _of_kind(tables: dict[str, Any], use: str) -> list[str]:
    return [name for name, table in tables.items() if isinstance(table, dict) and table.get("use") == use]
