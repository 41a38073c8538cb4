"""The command as a whole: it starts fast, and says of everything what it is for."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from gatepost import cli

NAMES = cli.main.list_commands(click.Context(cli.main))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_and_its_options(name):
    found = cli.load(name)

    commands = [found, *found.commands.values()] if isinstance(found, click.Group) else [found]
    silent = {"as_json", "limit"}
    for one in commands:
        assert one.help, name
        options = [parameter for parameter in one.params if isinstance(parameter, click.Option)]
        assert [option.name for option in options if not option.help and option.name not in silent] == []


def test_the_list_of_commands_is_the_groups_help():
    shown = CliRunner().invoke(cli.main, ["--help"]).output

    assert [name for name in NAMES if f"│ {name} " not in shown] == []


def test_a_commands_own_help_bears_its_name():
    shown = CliRunner().invoke(cli.main, ["messages", "list", "--help"], env={"COLUMNS": "120"}).output

    assert "main messages list [OPTIONS]" in shown


def test_a_command_that_is_not_there_is_said():
    result = CliRunner().invoke(cli.main, ["snd"])

    assert result.exit_code == 2
    assert "No such command" in result.output


def test_nothing_heavy_is_imported_before_a_command_is_chosen():
    code = "import sys, gatepost.cli; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"litestar", "sqlalchemy", "aiohttp", "msgspec", "structlog"} & set(loaded)
