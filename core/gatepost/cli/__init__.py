"""The command ``gatepost``. A subcommand's module is imported when it is called, so that each starts fast."""

from importlib import import_module
from typing import Any

import rich_click as click

from gatepost import __version__

_COMMANDS = {
    "serve": "run the gateway",
    "check": "look for faults in the configuration",
    "config": "print a complete commented gatepost.toml",
    "plugins": "show what is installed and what is enabled",
    "messages": "see what became of messages; send and tell again",
    "send": "send one test message through the running gateway",
    "new-plugin": "begin a plugin of your own",
    "demo": "see a whole gateway at work on this machine, without any account",
}


class _Late(click.RichGroup):
    """A group that knows its commands' names and words, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002  as above
        """What the list of commands needs to know of one."""
        return click.RichCommand(name=name, short_help=_COMMANDS[name]) if name in _COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and found else found, rest


def load(name: str) -> click.Command:
    """The whole command of this name."""
    found: click.Command = import_module(f"gatepost.cli.{name.replace('-', '_')}").command
    found.name = name
    return found


@click.group(cls=_Late, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="gatepost")
def main() -> None:
    """Sends what Smartico asks for, to people whom Smartico knows only by an id."""
    # For every command: logs that are not set up show an exception with its local variables. Late, as above.
    from gatepost.observe import logs  # noqa: PLC0415

    logs.configure("error", logs.form_of("auto"))
