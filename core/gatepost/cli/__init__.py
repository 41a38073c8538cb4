"""The command ``gatepost``. The module of a subcommand is imported when it is called, so that each starts fast."""

from importlib import import_module
from typing import Any

import rich_click as click

from gatepost import __version__

_COMMANDS = {
    "init": "write a first gatepost.toml by asking, or by options",
    "serve": "run the gateway",
    "reload": "let the running gateway take over its changed configuration",
    "dkim": "make a key that signs emails, with its DNS record",
    "check": "check the configuration and list all its faults",
    "config": "print a complete gatepost.toml with comments",
    "plugins": "show the installed plugins and their instances",
    "status": "show whether everything is fine, and what waits",
    "messages": "show messages, cancel them, send them again, repeat callbacks",
    "stats": "count messages by day, client, provider, country and status",
    "pause": "stop sending some messages for a while, or list what is paused",
    "resume": "end a pause",
    "audit": "show who changed what, when and why",
    "suppress": "say which users must not be contacted",
    "contact": "show what the contact sources know of a user, without the address",
    "console": "say who may use the console",
    "forget": "erase what is stored of one user",
    "export": "hand out what is stored of one user",
    "send": "send one test message through the running gateway",
    "new-plugin": "create a plugin of your own",
    "conformance": "check a plugin on the emulator of its provider",
    "prove": "prove that no address leaves its place, on your own configuration",
    "demo": "run a complete gateway on this machine, without any account",
}


class _LazyGroup(click.RichGroup):
    """A group that knows its commands by name and summary, and imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002  as above
        """Return a stand-in with the name and the summary, which are enough for the list of commands."""
        return click.RichCommand(name=name, short_help=_COMMANDS[name]) if name in _COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and found else found, rest


def load(name: str) -> click.Command:
    """Import and return the command of this name."""
    found: click.Command = import_module(f"gatepost.cli.{name.replace('-', '_')}").command
    found.name = name
    return found


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="gatepost")
def main() -> None:
    """Send Smartico's email and SMS to users that Smartico knows only by an id."""
    # For every command: without it structlog logs an exception with its local variables. Imported late, as the
    # commands are.
    from gatepost.observe import logs  # noqa: PLC0415

    logs.configure("error", logs.resolve_format("auto"))
