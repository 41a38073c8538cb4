"""``gatepost pause``: stops the sending of some messages for a while, and lists what is stopped."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import rich_click as click
from sqlalchemy import Connection

from gatepost.cli import store
from gatepost.cli.changes import change, check_reason
from gatepost.cli.common import config_option, printable, refuse_empty, report_faults
from gatepost.cli.message_view import print_json
from gatepost.cli.moments import FutureMoment
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.model import Channel
from gatepost.outbox import pauses
from gatepost.outbox.pauses import Pause, Scope
from gatepost.web.admin.requests import PauseRequest
from gatepost.web.admin.words import utc

_Command = TypeVar("_Command", bound=Callable[..., object])


def scope_options(command: _Command) -> _Command:
    """Add the options that say what is paused."""
    for option in (
        click.option(
            "--plugin",
            default="",
            callback=refuse_empty,
            help="At this plugin: its name in the configuration.",
        ),
        click.option("--route", default="", callback=refuse_empty, help="Messages of this route."),
        click.option(
            "--channel",
            type=click.Choice([channel.value for channel in Channel]),
            help="Messages of this channel.",
        ),
        click.option("--client", default="", callback=refuse_empty, help="Messages of this client."),
    ):
        command = option(command)
    return command


def scope_of(client: str, channel: str | None, route: str, plugin: str) -> Scope:
    """Return the scope that these options say."""
    return Scope(client=client, channel=Channel(channel) if channel else None, route=route, plugin=plugin)


@click.command()
@scope_options
@click.option("--reason", default="", callback=check_reason, help="Why; for the audit log.")
@click.option(
    "--until",
    type=FutureMoment(),
    help="When it ends: 2027-01-31T09:00Z, or 2h from now. Default: when it is resumed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def command(
    client: str,
    channel: str | None,
    route: str,
    plugin: str,
    reason: str,
    until: float | None,
    as_json: bool,
    config: Path | None,
) -> None:
    """Pause sending, or without any option list what is paused.

    Messages for which all the given options hold are accepted and wait. Their lifetimes go on. With --plugin the other
    plugins of their route send them. What is being sent at this moment goes on. If a gateway runs on this machine, it
    does this now; without one, it happens at the next start.
    """
    scope = scope_of(client, channel, route, plugin)
    if scope.is_empty and (reason or until):
        raise click.UsageError("give at least one of --client, --channel, --route, --plugin")
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        if scope.is_empty:
            found = asyncio.run(paused_now(settings))
        else:
            request = PauseRequest(scope=scope, reason=reason, ends_at=until)
            found = [asyncio.run(change(settings, "pause", request))]
    if as_json:
        print_json(found)
        return
    for one in found:
        click.echo(pause_text(one))
    if not scope.is_empty:
        click.echo("Every gateway of this store obeys within 2 s. Messages that wait keep their lifetimes.")
    elif not found:
        click.echo("Nothing is paused.")


async def paused_now(settings: Settings) -> Sequence[Pause]:
    """Return the pauses in force."""

    def query(connection: Connection) -> list[Pause]:
        return pauses.in_force(connection, store.clock(settings)(connection))

    return await store.fetch(settings, query)


def pause_text(pause: Pause) -> str:
    """Return a pause in one line."""
    end = f"until {utc(pause.ends_at)}" if pause.ends_at is not None else "until it is resumed"
    reason = f": {pause.reason}" if pause.reason else ""
    return printable(
        f"{pause.scope.text}  paused {end}, since {utc(pause.created_at)} by {pause.actor}{reason}"
    )
