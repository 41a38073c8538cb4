"""``gatepost check``: prints every fault of a configuration, or checks one plugin."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatepost.cli import request_preview, route_check
from gatepost.cli.common import config_option, printable
from gatepost.cli.config_checks import check_config
from gatepost.cli.findings import Finding
from gatepost.cli.message_view import print_json
from gatepost.config.toml_file import config_path
from gatepost.model import Channel
from gatepost.web.admin.words import plural

_MARKS = {
    "good": ("✓", "green"),
    "note": ("-", "cyan"),
    "warning": ("!", "yellow"),
    "fault": ("✗", "bold red"),
}


class _Options(TypedDict):
    live: bool
    as_json: bool
    client: str | None
    to: str | None
    sender: str | None


@click.command()
@click.option("--plugin", metavar="NAME", help="Instead: check this one plugin against the plugin contract.")
@click.option(
    "--try",
    "preview",
    is_flag=True,
    help="With --plugin: instead show the request of a sample message, without secrets; nothing is sent.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Also sign in to the providers, and send a test alert; no user gets a message.",
)
@click.option(
    "--route",
    type=click.Choice([channel.value for channel in Channel]),
    help="Instead: say which rule of this channel takes the message that the next three options describe.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for programs; not with --plugin or --route."
)
@click.option("--client", help="With --route: the client; required if there are several [clients.NAME].")
@click.option("--to", help="With --route: the recipient's address or phone number; it is not repeated.")
@click.option("--from", "sender", help="With --route: the sender that the request names.")
@config_option
def command(
    plugin: str | None, preview: bool, route: str | None, config: Path | None, **options: Unpack[_Options]
) -> None:
    """Check the configuration and list all its faults at once.

    The command builds and opens every plugin as the gateway would, so it also reads the contact sources. It
    reads the store without changing it, so it can run beside the gateway. It tries the providers' keys only with
    --live, which also sends a test to each receiver of alerts. The exit code is 1 if there is a fault; with only
    warnings it is 0. A line with a dash is about what the command can't know, and you can find out.

    With --route the exit code is 0 if a plugin would send the message.
    """
    path, live = config_path(config), options["live"]
    question = options["client"], options["to"], options["sender"]
    if options["as_json"] and (plugin, route) != (None, None):
        raise click.UsageError("--json goes with neither --plugin nor --route")
    if preview:
        if plugin is None or live or route is not None:
            raise click.UsageError("--try goes with --plugin, and with neither --live nor --route")
        sys.exit(request_preview.report(path, plugin))
    if route is not None:
        if plugin is not None or live:
            raise click.UsageError("--route goes with neither --plugin nor --live")
        sys.exit(route_check.report(path, route_check.RouteQuestion(Channel(route), *question)))
    if question != (None, None, None):
        raise click.UsageError("--client, --to and --from go with --route")
    if plugin is not None:
        # Imported here, because it brings the whole conformance kit.
        from gatepost.cli import plugin_conformance  # noqa: PLC0415

        sys.exit(plugin_conformance.report(path, plugin, live=live))
    findings = asyncio.run(check_config(path, live=live))
    sys.exit(print_findings_as_json(findings) if options["as_json"] else print_findings(path, findings))


def print_findings_as_json(findings: Sequence[Finding]) -> int:
    """Print the findings as JSON; returns the exit code."""
    print_json({"findings": [finding._asdict() for finding in findings]})
    return _exit_code(findings)


def print_findings(path: Path, findings: Sequence[Finding]) -> int:
    """Print the findings and a verdict; returns the exit code."""
    console = Console(highlight=False)
    console.print(Text(str(path), "bold"))
    table = Table.grid(padding=(0, 1))
    for finding in findings:
        mark, style = _MARKS[finding.grade]
        key = (f"{printable(finding.key)}: ", "bold") if finding.key else ""
        table.add_row("", Text(mark, style), Text.assemble(key, printable(finding.text)))
    console.print(table)
    faults = sum(finding.grade == "fault" for finding in findings)
    warnings = sum(finding.grade == "warning" for finding in findings)
    verdict = f"{plural(faults, 'fault')}, {plural(warnings, 'warning')}"
    console.print(verdict, style=_MARKS["fault" if faults else "warning" if warnings else "good"][1])
    return _exit_code(findings)


def _exit_code(findings: Sequence[Finding]) -> int:
    return int(any(finding.grade == "fault" for finding in findings))
