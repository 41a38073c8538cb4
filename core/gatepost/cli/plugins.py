"""``gatepost plugins``."""

from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gatepost import hookspecs
from gatepost.cli.common import config_option, shown
from gatepost.config.toml_file import locate, plugin_uses
from gatepost.errors import ConfigError
from gatepost.plugin_host import discovery

_CAN = {
    "find_contact": "finds contacts",
    "send_email": "sends email",
    "send_sms": "sends text messages",
    "parse_webhook": "hears reports",
    "ping": "answers a ping",
}


@click.command()
@config_option
def command(config: Path | None) -> None:
    """Show which plugins are installed, and which instances of them the configuration has."""
    path = locate(config)
    console = Console(highlight=False)
    try:
        tables = plugin_uses(path)
        note = "" if tables else f"{path} has no [plugins.NAME] table."
    except ConfigError as error:
        tables, note = {}, f"What is enabled is not known. {error}"
    installed = discovery.installed()
    table = Table("use", "installed", "can", "instances", show_lines=True)
    for use in sorted({*installed, *tables.values()}):
        enabled = ", ".join(name for name, named in tables.items() if named == use)
        distribution = installed[use].dist if use in installed else None
        table.add_row(
            escape(shown(use)),
            f"{distribution.name} {distribution.version}" if distribution else "–",
            _can(use),
            escape(shown(enabled)) or "–",
        )
    if table.row_count:
        console.print(table)
    else:
        console.print(f"No plugin is installed. {discovery.HOW_TO_INSTALL.format('csv')}.", markup=False)
    if note:
        console.print(shown(note), style="yellow", markup=False)


def _can(use: str) -> Text:
    try:
        discovery.settings_type(use)
    except ConfigError as error:
        return Text(shown(error.faults[0].problem), "red")
    plugin = discovery.installed()[use].load()
    return Text("\n".join(words for hook, words in _CAN.items() if _implements(plugin, hook)) or "nothing")


def _implements(plugin: type, hook: str) -> bool:
    return hasattr(getattr(plugin, hook, None), f"{hookspecs.PROJECT}_impl")
