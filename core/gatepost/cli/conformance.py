"""``gatepost conformance``: runs the conformance kit on an installed plugin, and writes reports about it."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import msgspec
import rich_click as click
from rich.console import Console
from rich.text import Text

from gatepost.cli.common import config_option, fail, printable
from gatepost.cli.plugin_conformance import MARKS, configured_harness
from gatepost.cli.saved_report import saved_report
from gatepost.config.toml_file import config_path
from gatepost.errors import ConfigError
from gatepost.plugin_host import discovery
from gatepost.testing.conformance import kit
from gatepost.testing.conformance.live import LiveOrder, parse_recipient, run_live
from gatepost.testing.conformance.report import LiveRecord, Report, badge, encode
from gatepost.testing.conformance.runner import CaseOutcome, CaseResult
from gatepost.web.admin.words import plural


class _Options(TypedDict):
    as_json: bool
    save: bool
    image: Path | None
    live: str | None
    recipients: Sequence[str]
    sender: str
    send: bool
    config: Path | None


@click.command()
@click.argument("plugin")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--save", is_flag=True, help="Write the report into the plugin's package, as conformance.json.")
@click.option(
    "--badge", "image", type=click.Path(path_type=Path, dir_okay=False), help="Write a badge (SVG) to FILE."
)
@click.option(
    "--live", metavar="INSTANCE", help="Then try this instance of the configuration on its real provider."
)
@click.option(
    "--to", "recipients", multiple=True, metavar="RECIPIENT", help="With --live: an address or a number."
)
@click.option("--from", "sender", default="", help="With --live: the sender of the messages.")
@click.option("--send", is_flag=True, help="With --live: really send one message to each --to.")
@config_option
def command(plugin: str, **options: Unpack[_Options]) -> None:
    """Check the installed PLUGIN on the emulator of its provider.

    Nothing leaves this machine, except with --live: that asks the real provider of one configured instance for a ping,
    and with --send it sends one message to each recipient that you name. The exit code is 0 if no check failed.
    """
    console = Console(highlight=False, stderr=options["as_json"])
    order = _live_order(options)
    try:
        subject = kit.find(plugin)
    except ConfigError as error:
        fail(f"{printable(plugin)}: {error}")
    report = asyncio.run(kit.run(subject, lambda result: _show(console, result)))
    if order is not None:
        report = msgspec.structs.replace(report, live=_try_live(console, options, order))
    _show_level(console, report)
    is_live_good = report.live is None or (report.live.pinged and not report.live.failed)
    is_good = not report.failed and is_live_good
    try:
        if options["save"]:
            _save(console, plugin, report, is_good=is_good)
        if options["image"]:
            options["image"].write_text(badge(report), "utf-8")
    except OSError as error:
        fail(f"{error.filename} can't be written: {error.strerror}")
    if options["as_json"]:
        sys.stdout.write(encode(report).decode())
    sys.exit(0 if is_good else 1)


def _save(console: Console, plugin: str, report: Report, *, is_good: bool) -> None:
    file = saved_report(discovery.installed()[plugin])
    if file is None:
        fail(f"{printable(plugin)} is a single module, which can't hold a report: make it a package")
    if not is_good:
        console.print("The report is not saved, because something failed.", style="bold red")
        return
    file.write_bytes(encode(report))
    console.print(f"Saved as {file}", markup=False, soft_wrap=True)


def _live_order(options: _Options) -> LiveOrder | None:
    """Return what is asked of the real provider; None without --live. End the command where it is unclear."""
    recipients, sender, send = options["recipients"], options["sender"], options["send"]
    if options["live"] is None:
        if recipients or send or sender:
            fail("--to, --from and --send are for --live INSTANCE")
        return None
    if send and not recipients:
        fail("--send needs a recipient: --to ADDRESS or --to NUMBER; only these get a message")
    found = []
    for number, text in enumerate(recipients, start=1):
        try:
            found.append(parse_recipient(text))
        except ValueError as error:
            fail(f"--to number {number} {error}")
    return LiveOrder(found, sender, send)


def _try_live(console: Console, options: _Options, order: LiveOrder) -> LiveRecord:
    name = options["live"] or ""
    harness = configured_harness(config_path(options["config"]), name)
    try:
        record, steps = asyncio.run(run_live(harness, order))
    except ConfigError as error:
        fail(f"plugins.{printable(name)}: {error}")
    console.print(f"\nThe real provider of {printable(name)}:", style="bold", markup=False)
    for step in steps:
        mark = MARKS[CaseOutcome.FAILED if step.problem else CaseOutcome.PASSED]
        console.print(Text.assemble("  ", mark, f" {step.text} ", (printable(step.problem), "red")))
    return record


def _show(console: Console, result: CaseResult) -> None:
    """Print one result as soon as it is known; what passes in one line."""
    line = Text.assemble("  ", MARKS[result.outcome], " ", (result.case.id, "bold"))
    if result.outcome is CaseOutcome.PASSED:
        line.append(f"  {result.case.check.summary}", "dim")
    elif result.outcome is CaseOutcome.NOT_JUDGED:
        line.append(f"  not judged: mend {result.cause} first", "yellow")
    else:
        line.append(f"\n    {printable(result.problem)}", "red")
        line.append(f"\n    {result.case.check.lesson}")
    console.print(line)


def _show_level(console: Console, report: Report) -> None:
    passed = sum(one.outcome is CaseOutcome.PASSED for one in report.checks)
    others = len(report.checks) - passed - len(report.failed)
    console.print(
        f"\n{plural(len(report.checks), 'check')}: {passed} passed, {len(report.failed)} failed, {others} not judged"
    )
    if report.failed:
        console.print(f"Read first: {report.failed[0].id}", style="bold red", markup=False)
    console.print(f"Level: {report.level}", style="bold")
    if report.next_level:
        console.print(f"For {report.next_level}:")
        for text in report.missing(report.next_level):
            console.print(f"  - {printable(text)}", markup=False)
