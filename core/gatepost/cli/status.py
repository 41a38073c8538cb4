"""``gatepost status``: whether everything is fine, and what waits."""

import asyncio
import math
import sys
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.text import Text
from sqlalchemy import Connection

from gatepost.cli import store
from gatepost.cli.common import config_option, plural, printable, report_faults
from gatepost.cli.message_view import print_json
from gatepost.cli.pause import pause_text
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.outbox.overview import Overview, ReducedShare, WaitingMessages, overview
from gatepost.outbox.store_url import sqlite_path
from gatepost.web.admin.requests import InstanceStatus, Status
from gatepost.web.admin.status import configured, store_problems


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def command(as_json: bool, config: Path | None) -> None:
    """Show whether everything is fine, what waits, which plugins rest, and what is paused.

    The exit code is 1 when an operator should look now.
    """
    with report_faults(config_path(config)):
        status = asyncio.run(_status(store.load_settings(config)))
    if as_json:
        print_json(status)
    else:
        Console(highlight=False).print(_text(status))
    sys.exit(1 if status.problems else 0)


async def _status(settings: Settings) -> Status:
    """Return the status of the gateway that runs here; without one, that of the store."""
    try:
        return await store.status(settings)
    except store.GatewayNotRunning:
        gateway = "no gateway runs on this machine"
        # On PostgreSQL there may be others on other machines.
        is_problem = sqlite_path(settings.store.url, settings.path.parent) is not None
    except store.AdminError as error:
        gateway, is_problem = str(error), True

    def query(connection: Connection) -> Overview:
        return overview(connection, store.clock(settings)(connection))

    found = await store.fetch(settings, query)
    problems = [*([gateway] if is_problem else []), *store_problems(found)]
    return Status(gateway=gateway, problems=problems, plugins=[], store=configured(settings, found))


def _text(status: Status) -> Text:
    text = Text()
    if status.problems:
        text.append("Look at this now:\n", "bold red")
        for problem in status.problems:
            text.append(f"  {printable(problem)}\n", "red")
    else:
        text.append("Everything is fine.\n", "bold green")
    found, callbacks = status.store, status.store.callbacks
    waiting = (
        f"waiting {callbacks.waiting}, the oldest for {_duration(callbacks.age)}; given up {callbacks.dead}"
    )
    parts = {
        "gateway": [status.gateway],
        "messages": [_waiting_text(one) for one in found.waiting] or ["none waits"],
        "callbacks": [waiting if callbacks.waiting or callbacks.dead else "none waits"],
        "plugins": [_instance_text(one) for one in status.plugins],
        "shares": [_share_text(one) for one in found.shares],
        "pauses": [pause_text(one) for one in found.pauses],
    }
    for name, lines in parts.items():
        for number, line in enumerate(lines):
            text.append(f"{'' if number else name:11}", "dim")
            text.append(f"{printable(line)}\n")
    text.rstrip()
    return text


def _waiting_text(one: WaitingMessages) -> str:
    route = f"route {one.route}" if one.route else "route not decided"
    overdue = f", the oldest due for {_duration(one.overdue)}" if one.overdue else ""
    held = f", {one.held} held" if one.held else ""
    return f"{one.channel}, {route}, client {one.client}: {plural(one.messages, 'message')}{overdue}{held}"


def _instance_text(one: InstanceStatus) -> str:
    state = f"{one.state} for {_duration(one.seconds)}" if one.seconds else one.state
    return f"{one.instance}: {state}{', misconfigured' if one.misconfigured else ''}{one.reason and f': {one.reason}'}"


def _share_text(one: ReducedShare) -> str:
    place = f" in {one.country}" if one.country else ""
    return f"{one.route}{place}: {one.instance} has {round(100 * one.factor)} % of its share, because {one.reason}"


def _duration(seconds: float) -> str:
    """Return seconds as ``45 s``, ``12 min`` or ``3 h``."""
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{round(seconds / 60)} min" if seconds < 7200 else f"{round(seconds / 3600)} h"
