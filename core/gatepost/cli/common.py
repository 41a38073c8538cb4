"""What several commands need: where the configuration is, and how faults are shown."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import rich_click as click

from gatepost.errors import ConfigError, Fault

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration; else GATEPOST_CONFIG, else gatepost.toml here.",
)


@contextmanager
def faults_shown(path: Path) -> Iterator[None]:
    """End the command with exit code 1 and every fault on stderr when the configuration can't be used."""
    try:
        yield
    except ConfigError as error:
        for fault in error.faults:
            click.echo(fault_line(path, fault), err=True)
        sys.exit(1)


def fault_line(path: Path, fault: Fault) -> str:
    """One fault as one line, behind the name of the file; a fault of the file as a whole names it itself."""
    return shown(f"{path}: {fault}" if fault.key else str(fault))


def fail(problem: str) -> NoReturn:
    """End the command with exit code 1 and say why on stderr."""
    click.echo(f"gatepost: {problem}", err=True)
    sys.exit(1)


def shown(text: str) -> str:
    """A text from outside as it can be printed: nothing in it that a terminal would obey."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def counted(number: int, what: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
