"""``gatepost status``: whether everything is fine, and what waits."""

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from sqlalchemy import Connection

from gatepost.cli import admin_client, store
from gatepost.cli.common import config_option, fail, report_faults
from gatepost.cli.message_view import print_json
from gatepost.cli.status_view import Status, status_view
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.outbox.overview import Overview, overview
from gatepost.outbox.store_url import sqlite_path
from gatepost.upkeep.configured_limits import configured_limits
from gatepost.upkeep.problems import Kind, Known, Problem, by_urgency, find_problems, problem
from gatepost.upkeep.warmups import configured_warmups
from gatepost.web.admin.words import utc

WATCH_INTERVAL = 2.0
"""Seconds between two views of ``--watch``."""

_NOT_RUNNING = "start it with gatepost serve; the end of its log says why it stopped"
_NO_ANSWER = "look at its log, and whether its process still runs"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--watch", is_flag=True, help="Show it again every 2 s, until Ctrl-C.")
@config_option
def command(as_json: bool, watch: bool, config: Path | None) -> None:
    """Show whether everything is fine, what waits, and how plugins, contacts, callbacks and the store are.

    The exit code is 1 when an operator should look now.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people and --json for programs: give one of them")
    if watch and not sys.stdout.isatty():
        fail("--watch needs a terminal: leave it out, or run gatepost status again and again")
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
    status = _watch(settings) if watch else asyncio.run(_status(settings))
    if as_json:
        print_json(status)
    else:
        Console(highlight=False).print(status_view(status))
    sys.exit(1 if status.problems else 0)


def _watch(settings: Settings) -> Status:
    """Show the status again and again until Ctrl-C; return the last one."""
    status = asyncio.run(_status(settings))
    # On the alternate screen, because a view may have more lines than the terminal.
    with (
        suppress(KeyboardInterrupt),
        Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live,
    ):
        while True:
            head = Text(f"{utc(time.time())}, every {WATCH_INTERVAL:g} s; Ctrl-C ends\n", "dim")
            live.update(Group(head, status_view(status)), refresh=True)
            time.sleep(WATCH_INTERVAL)
            status = asyncio.run(_status(settings))
    return status


async def _status(settings: Settings) -> Status:
    """Return what is known of the gateway that runs here and of the store."""
    problems: list[Problem] = []
    known = Known(settings, None, None)
    stopped = ""
    state = "running"
    try:
        known = known._replace(gateway=await admin_client.status(settings))
    except admin_client.GatewayNotRunning:
        state = stopped = "no gateway runs on this machine"
    except admin_client.AdminError as error:
        state = str(error)
        problems.append(problem(Kind.NOT_RUNNING, "", state, _NO_ANSWER))

    def query(connection: Connection) -> Overview:
        now = store.clock(settings)(connection)
        return overview(connection, now, configured_limits(settings))

    try:
        known = known._replace(store=_configured(settings, await store.read(settings, query)))
    except store.StoreUnreadable as error:
        problems.append(
            problem(Kind.STORE, "", str(error), "check store.url and the user that runs this command")
        )
    if stopped and not _runs_elsewhere(settings, known.store):
        problems.append(problem(Kind.NOT_RUNNING, "", stopped, _NOT_RUNNING))
    problems += find_problems(known)
    return Status(gateway=state, problems=by_urgency(problems), process=known.gateway, store=known.store)


def _runs_elsewhere(settings: Settings, found: Overview | None) -> bool:
    """Return whether a gateway runs on another machine, which can be only with PostgreSQL."""
    is_local = sqlite_path(settings.store.url, settings.path.parent) is not None
    return not is_local and found is not None and not all(one.is_gone for one in found.replicas)


def _configured(settings: Settings, found: Overview) -> Overview:
    """Return the overview without the shares and warm-ups of routes and instances that are no longer configured."""
    splits = settings.routes.balanced
    shares = [one for one in found.shares if one.instance in splits.get(one.route, {})]
    warmups = configured_warmups(settings, found.warmups)
    return msgspec.structs.replace(found, shares=shares, warmups=warmups)
