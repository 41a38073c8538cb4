"""The command as a whole: it starts fast, and explains every command and option."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from gatepost import cli

NAMES = cli.main.list_commands(click.Context(cli.main))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_option_has_a_help_text(name):
    found = cli.load(name)

    commands = [found, *found.commands.values()] if isinstance(found, click.Group) else [found]
    without_help = {"as_json", "limit"}
    for one in commands:
        assert one.help, name
        options = [parameter for parameter in one.params if isinstance(parameter, click.Option)]
        assert [
            option.name for option in options if not option.help and option.name not in without_help
        ] == []


def test_the_help_lists_every_command():
    output = CliRunner().invoke(cli.main, ["--help"]).output

    assert [name for name in NAMES if f"│ {name} " not in output] == []


def test_the_help_of_a_command_shows_its_name():
    output = CliRunner().invoke(cli.main, ["messages", "list", "--help"], env={"COLUMNS": "120"}).output

    assert "main messages list [OPTIONS]" in output


def test_an_unknown_command_is_an_error():
    result = CliRunner().invoke(cli.main, ["snd"])

    assert result.exit_code == 2
    assert "No such command" in result.output


def test_no_heavy_module_is_imported_before_a_command_is_chosen():
    code = "import sys, gatepost.cli; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"litestar", "sqlalchemy", "aiohttp", "msgspec", "structlog"} & set(loaded)
