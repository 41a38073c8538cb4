"""``gatepost console``: who may use the console."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from gatepost.cli import store
from gatepost.cli.changes import change
from gatepost.cli.common import config_option, fail, report_faults
from gatepost.config.toml_file import config_path
from gatepost.outbox import console_users
from gatepost.outbox.console_users import ConsoleUser, Role
from gatepost.web.admin.requests import ConsoleUserRequest, RemoveConsoleUserRequest


@click.group()
def command() -> None:
    """Say who may use the console."""


@command.command("add-user")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator"]),
    required=True,
    help="A viewer may look; an operator may also pause, cancel, send again and so on.",
)
@click.option("--client", "clients", multiple=True, help="Only the messages of this client; may be repeated.")
@click.option("--no-password", is_flag=True, help="The user signs in through a proxy alone.")
@config_option
def add_user(name: str, role: Role, clients: Sequence[str], no_password: bool, config: Path | None) -> None:
    """Add a user, or change one: the role, the clients and the password are replaced, and the sessions end.

    The password is prompted for, or read from standard input.
    """
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        password_hash = "" if no_password else _hash(_read_password())
        user = ConsoleUser(name=name, role=role, clients=clients, password_hash=password_hash)
        try:
            request = ConsoleUserRequest(user=user)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        is_new = asyncio.run(change(settings, "console-user-put", request))
    click.echo(f"{name} {'is added' if is_new else 'is changed'}: {role}, {_clients_text(clients)}")


@command.command("remove-user")
@click.argument("name")
@config_option
def remove_user(name: str, config: Path | None) -> None:
    """Remove a user, whose sessions end at once."""
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        existed = asyncio.run(change(settings, "console-user-remove", RemoveConsoleUserRequest(name=name)))
    if not existed:
        fail(f"there is no user {name}: gatepost console list-users shows all")
    click.echo(f"{name} is removed")


@command.command("list-users")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def list_users(as_json: bool, config: Path | None) -> None:
    """List the users."""
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        users = asyncio.run(store.fetch(settings, console_users.list_users))
    if as_json:
        shown = ("name", "role", "clients")
        click.echo(json.dumps([{name: getattr(user, name) for name in shown} for user in users], indent=2))
        return
    for user in users:
        how = "" if user.password_hash else ", without a password"
        click.echo(f"{user.name}  {user.role}, {_clients_text(user.clients)}{how}")
    if not users:
        click.echo("There is no user yet: gatepost console add-user NAME --role operator")


def _clients_text(clients: Sequence[str]) -> str:
    return f"of {', '.join(clients)}" if clients else "of all clients"


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\n")


def _hash(password: str) -> str:
    try:
        from gatepost.console import passwords  # noqa: PLC0415  its library is an extra
    except ImportError:
        fail("passwords need argon2-cffi: from your checkout, pip install '.[console]'")
    if problem := passwords.password_problem(password):
        fail(problem)
    return passwords.hash_password(password)
