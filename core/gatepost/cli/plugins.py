"""``gatepost plugins``."""

from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.table import Table

from gatepost import hookspecs, instances, settings
from gatepost.cli.common import config_option
from gatepost.errors import ConfigError


@click.command()
@config_option
def command(config: Path | None) -> None:
    """Show which plugins are installed, and which instances of them the configuration enables."""
    path = settings.locate(config)
    read = settings.read(path, instances.settings_type)[0] if path.exists() else None
    enabled: dict[str, list[str]] = {}
    for name, instance in (read.plugins if read else {}).items():
        enabled.setdefault(instance.use, []).append(name)
    table = Table("use", "distribution", "version", "can", "enabled as", title="Installed plugins")
    for use, entry in sorted(instances.installed().items()):
        distribution = entry.dist
        table.add_row(
            use,
            distribution.name if distribution else "?",
            distribution.version if distribution else "?",
            _can(use),
            ", ".join(enabled.get(use, [])) or "–",
        )
    console = Console()
    console.print(table)
    if read is None:
        console.print(f"No configuration at {path}: nothing is enabled.", style="dim")


def _can(use: str) -> str:
    try:
        instances.settings_type(use)
    except ConfigError as error:
        return f"can't be used: {error}"
    plugin = instances.installed()[use].load()
    hooks = [name for name in sorted(_inherited()) if _implements(plugin, name)]
    return ", ".join(hooks) or "nothing"


def _inherited() -> dict[str, object]:
    return {name: hook for base in hookspecs.Hooks.__mro__ for name, hook in vars(base).items()}


def _implements(plugin: type, name: str) -> bool:
    return hasattr(getattr(plugin, name, None), f"{hookspecs.PROJECT}_impl")
