"""``gatepost check``."""

import asyncio
import sys
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatepost.cli.common import config_option, counted, shown
from gatepost.cli.inspection import inspect
from gatepost.config.toml_file import locate

_MARKS = {"good": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "bold red")}


@click.command()
@click.option("--plugin", metavar="NAME", help="Instead: hold this one plugin to the contract.")
@click.option("--live", is_flag=True, help="Sign in to the providers too; nothing is sent.")
@config_option
def command(plugin: str | None, live: bool, config: Path | None) -> None:
    """Look for faults in the configuration, and name all of them at once.

    Makes every plugin and opens it as the gateway would: contact sources are read. Looks into the store and
    changes nothing there, so that it can run beside the gateway. Providers' keys are tried with --live alone.
    The exit code is 1 when there is a fault; warnings leave it 0.
    """
    path = locate(config)
    if plugin is not None:
        # Only here, for it brings the whole conformance kit.
        from gatepost.cli import conformance  # noqa: PLC0415

        sys.exit(conformance.report(path, plugin, live=live))
    lines = asyncio.run(inspect(path, live=live))
    console = Console(highlight=False)
    console.print(Text(str(path), "bold"))
    table = Table.grid(padding=(0, 1))
    for line in lines:
        mark, style = _MARKS[line.grade]
        where = (f"{shown(line.where)}: ", "bold") if line.where else ""
        table.add_row("", Text(mark, style), Text.assemble(where, shown(line.text)))
    console.print(table)
    faults = sum(line.grade == "fault" for line in lines)
    warnings = sum(line.grade == "warning" for line in lines)
    verdict = f"{counted(faults, 'fault')}, {counted(warnings, 'warning')}"
    console.print(verdict, style=_MARKS["fault" if faults else "warning" if warnings else "good"][1])
    sys.exit(1 if faults else 0)
