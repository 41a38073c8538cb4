"""``gatepost plugins``: shows the installed plugins and their configured instances."""

from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gatepost.cli.common import config_option, printable
from gatepost.cli.saved_report import saved_report
from gatepost.config.toml_file import config_path, plugin_uses
from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION, HOOKS
from gatepost.plugin_host import discovery

_IN_WORDS = {
    "find_contact": "finds contacts",
    "find_contacts": "finds several contacts at once",
    "find_user": "finds users by number or address",
    "send_email": "sends email",
    "send_sms": "sends text messages",
    "parse_webhook": "takes reports",
    "ping": "answers a ping",
}
"""What a plugin can do when it implements a hook. A lifespan is not shown: it is of use to the plugin alone."""


@click.command()
@config_option
def command(config: Path | None) -> None:
    """Show the installed plugins and their instances in the configuration."""
    path = config_path(config)
    console = Console(highlight=False)
    try:
        uses = plugin_uses(path)
        note = "" if uses else f"{path} has no [plugins.NAME] table."
    except ConfigError as error:
        uses, note = {}, f"The configuration could not be read, so no instances are shown. {error}"
    installed = discovery.installed()
    table = Table("use", "installed", "can", "level", "instances", show_lines=True)
    for use in sorted({*installed, *uses.values()}):
        instances = ", ".join(name for name, named in uses.items() if named == use)
        distribution = installed[use].dist if use in installed else None
        table.add_row(
            escape(printable(use)),
            f"{distribution.name} {distribution.version}" if distribution else "–",
            _abilities(use),
            _level(installed[use]) if use in installed else "–",
            escape(printable(instances)) or "–",
        )
    if table.row_count:
        console.print(table)
    else:
        console.print(f"No plugin is installed. {discovery.HOW_TO_INSTALL.format('csv')}.", markup=False)
    if note:
        console.print(printable(note), style="yellow", markup=False)


def _abilities(use: str) -> Text:
    """Return what a plugin can do, a line for each hook, or why it can't be used."""
    try:
        plugin = discovery.load(use)
    except ConfigError as error:
        return Text(printable(error.faults[0].problem), "red")
    hooks = [hook for hook in HOOKS if hook != "lifespan" and discovery.implements(plugin, hook)]
    return Text("\n".join(_IN_WORDS.get(hook, hook) for hook in hooks) or "nothing")


def _level(entry: EntryPoint) -> str:
    """Return the level that the report in a plugin's package proves, such as ``silver``; a dash without a report."""
    file = saved_report(entry)
    try:
        data = file.read_bytes() if file else b""
    except OSError:
        data = b""
    if not data:
        return "–"
    # Imported here, because it brings the whole conformance kit.
    from gatepost.testing.conformance.report import Report  # noqa: PLC0415

    try:
        report = msgspec.json.decode(data, type=Report)
    except (ValueError, RecursionError):
        return "its report can't be read"
    if report.kit != API_VERSION:
        return f"{report.level} of kit {report.kit}"
    if entry.dist and report.version != entry.dist.version:
        return f"{report.level} of version {printable(report.version)}"
    return str(report.level)
