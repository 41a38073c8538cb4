"""``gatepost suppress``: the users who must not be contacted."""

import asyncio
import sys
from functools import partial
from pathlib import Path

import rich_click as click

from gatepost.cli import store
from gatepost.cli.changes import change, check_reason
from gatepost.cli.common import client_of, config_option, printable, report_faults
from gatepost.cli.message_view import print_json
from gatepost.cli.moments import FutureMoment
from gatepost.config.toml_file import config_path
from gatepost.outbox import suppressions, user_hash
from gatepost.outbox.suppressions import Suppression
from gatepost.web.admin.requests import MAX_USER, SuppressRequest, UnsuppressRequest
from gatepost.web.admin.words import utc

_FOREVER = "without an end"


@click.group()
def command() -> None:
    """Say which users must not be contacted, whatever the contact sources say.

    Messages to such a user are refused with error_code 13; those that were accepted before get the status rejected.
    """


client_option = click.option(
    "--client", help="The client whose user it is; required if there are several [clients.NAME]."
)
user_argument = click.argument("user", metavar="USER")


@command.command()
@user_argument
@client_option
@click.option(
    "--reason",
    default="suppressed",
    show_default=True,
    callback=check_reason,
    help="Why, in a word or two; Smartico sees it.",
)
@click.option("--until", type=FutureMoment(), help="The end: 2027-01-31T09:00Z, 2027-01-31, 12h or 7d.")
@config_option
def add(user: str, client: str | None, reason: str, until: float | None, config: Path | None) -> None:
    """Suppress a user of a client. USER is the ext_user_id. An earlier suppression of the user is replaced."""
    _check_user(user)
    if not 1 <= len(reason.strip()) <= suppressions.MAX_REASON:
        raise click.UsageError(f"--reason must be a text of 1 to {suppressions.MAX_REASON} characters")
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        name = client_of(settings, client)
        request = SuppressRequest(client=name, ext_user_id=user, reason=reason, ends_at=until)
        asyncio.run(change(settings, "suppress-add", request))
    end = f"until {utc(until)}" if until else _FOREVER
    click.echo(f"{printable(user)} of {printable(name)} is suppressed {end}")


@command.command()
@user_argument
@client_option
@click.option("--reason", default="", callback=check_reason, help="Why, for the audit log.")
@config_option
def remove(user: str, client: str | None, reason: str, config: Path | None) -> None:
    """Let a suppressed user be contacted again. The exit code is 1 if the user was not suppressed."""
    _check_user(user)
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        name = client_of(settings, client)
        request = UnsuppressRequest(client=name, ext_user_id=user, reason=reason)
        removed = asyncio.run(change(settings, "suppress-remove", request))
    state = "is no longer suppressed" if removed else "was not suppressed"
    click.echo(f"{printable(user)} of {printable(name)} {state}")
    sys.exit(0 if removed else 1)


@command.command("list")
@click.option("--client", default="", help="Only users of this client.")
@click.option("--user", default="", help="Only this user (ext_user_id).")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="The largest number of users.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def list_(client: str, user: str, limit: int, as_json: bool, config: Path | None) -> None:
    """List the suppressed users, the newest first."""
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        now = asyncio.run(store.fetch(settings, store.clock(settings))) / 1000
        query = partial(
            suppressions.list_suppressions, now=now, client=client, ext_user_id=user, limit=limit + 1
        )
        found = asyncio.run(store.fetch(settings, query))
    if as_json:
        print_json(found[:limit])
        return
    for one in found[:limit]:
        click.echo(_line(one))
    if not found:
        click.echo("No such user is suppressed." if client or user else "No user is suppressed.")
    elif len(found) > limit:
        click.echo(f"The newest {limit}; --limit shows more.")


def _line(one: Suppression) -> str:
    end = f"until {utc(one.ends_at)}" if one.ends_at else _FOREVER
    user = one.ext_user_id or f"hash {one.user_hash[: user_hash.SHOWN]}"
    text = f"{utc(one.created_at)}  {one.client}  {user}  {end}, by {one.actor}: {one.reason}"
    return printable(text)


def _check_user(user: str) -> None:
    if not 1 <= len(user) <= MAX_USER:
        raise click.UsageError(f"USER must have 1 to {MAX_USER} characters")
