"""What several commands share: the option ``--config``, and how faults and texts are printed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import rich_click as click
from click.core import ParameterSource

from gatepost.config.settings import Settings
from gatepost.errors import ConfigError, Fault

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file. Default: GATEPOST_CONFIG, else gatepost.toml in this folder.",
)


def refuse_empty(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse an empty text for an option that narrows down what a command changes.

    A script whose variable is not set would otherwise change the messages of all clients.
    """
    if not value and context.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT:
        raise click.BadParameter("it is empty; leave the option out instead", context, parameter)
    return value


@contextmanager
def report_faults(path: Path) -> Iterator[None]:
    """Print every fault on stderr and end the command with exit code 1 when the block raises ConfigError."""
    try:
        yield
    except ConfigError as error:
        for fault in error.faults:
            click.echo(fault_line(path, fault), err=True)
        sys.exit(1)


def fault_line(path: Path, fault: Fault) -> str:
    """Return a fault as one line that begins with the file; a fault of the whole file names the file itself."""
    return printable(f"{path}: {fault}" if fault.key else str(fault))


def fail(problem: str) -> NoReturn:
    """Print a problem on stderr and end the command with exit code 1."""
    click.echo(f"gatepost: {problem}", err=True)
    sys.exit(1)


def client_of(settings: Settings, name: str | None) -> str:
    """Return the client that an option names, or the only client; end the command where there are several."""
    names = list(settings.clients)
    if name is not None:
        return name
    if len(names) != 1:
        fail(f"name the client with --client; there are: {', '.join(names) or 'none'}")
    return names[0]


def printable(text: str) -> str:
    """Return a text with every control character escaped, so that it can't control the terminal."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
