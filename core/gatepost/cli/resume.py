"""``gatepost resume``: ends a pause."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from gatepost.cli import store
from gatepost.cli.changes import change
from gatepost.cli.common import config_option, printable, report_faults
from gatepost.cli.message_view import print_json
from gatepost.cli.pause import scope_of, scope_options
from gatepost.config.toml_file import config_path
from gatepost.outbox.pauses import Pause
from gatepost.web.admin.requests import ResumeRequest


@click.command()
@scope_options
@click.option("--all", "all_pauses", is_flag=True, help="End every pause.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def command(
    client: str,
    channel: str | None,
    route: str,
    plugin: str,
    all_pauses: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """End the pause that has exactly these options, or all pauses.

    What waited is sent at once. If a gateway runs on this machine, it does this now; without one, it happens at the
    next start. Without options, gatepost pause lists what is paused.
    """
    scope = scope_of(client, channel, route, plugin)
    if scope.is_empty != all_pauses:
        raise click.UsageError("give either the options of the pause, or --all")
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        request = ResumeRequest(scope=None if all_pauses else scope)
        ended: Sequence[Pause] = asyncio.run(change(settings, "resume", request))
    if as_json:
        print_json(ended)
        return
    for one in ended:
        click.echo(f"{printable(one.scope.text)}  resumed")
