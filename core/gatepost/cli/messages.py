"""``gatepost messages``: shows messages, and retries sends and callbacks."""

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from gatepost.cli import message_list, message_show, store
from gatepost.cli.cancel import cancel
from gatepost.cli.changes import change_messages
from gatepost.cli.common import config_option, refuse_empty, report_faults
from gatepost.cli.known_names import require_known
from gatepost.cli.message_ids import find_ids
from gatepost.cli.message_options import filter_of, filter_options
from gatepost.cli.message_view import callback_retry_text, print_json
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.outbox import CallbackRetry, MessageRetry, retries
from gatepost.outbox.states import State
from gatepost.web.admin.requests import RetryRequest
from gatepost.web.admin.words import plural

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group()
def command() -> None:
    """Show what became of messages, cancel them, send failed messages again, and make callbacks now."""


command.add_command(message_list.command)
command.add_command(message_show.command)
command.add_command(cancel)

ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
yes_option = click.option("--yes", is_flag=True, help="Don't ask for confirmation.")


@command.command()
@ids_argument
@click.option("--failed", is_flag=True, help="Send the failed messages again.")
@click.option("--held", is_flag=True, help="Send the held messages again.")
@filter_options
@yes_option
@json_option
@config_option
def retry(
    ids: Sequence[str],
    failed: bool,
    held: bool,
    yes: bool,
    as_json: bool,
    config: Path | None,
    **conditions: Any,
) -> None:
    """Send failed and held messages again: those with these IDs, or all for which the given options hold.

    A message is sent as soon as possible, and its lifetime begins again. If a gateway runs on this machine, it does
    this now; without one, it happens at the next start. A message that was cancelled or rejected can't be sent again:
    Smartico has to send it with a new uid. An ID is any id that show accepts.
    """
    wanted = filter_of(conditions)
    if bool(ids) == (failed or held):
        raise click.UsageError("give either IDs, or --failed, --held, or both")
    if ids and not wanted.is_empty:
        raise click.UsageError("--client, --channel, --route, --user, --since and --until don't go with IDs")
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        require_known(settings, client=wanted.client, route=wanted.route)
        states = tuple(state for state, chosen in ((State.FAILED, failed), (State.HELD, held)) if chosen)
        query = partial(retries.ids_in_states, wanted=msgspec.structs.replace(wanted, states=states))
        message_ids = asyncio.run(find_ids(settings, ids) if ids else store.fetch(settings, query))
        if message_ids and not (ids or yes):
            click.confirm(f"Send {plural(len(message_ids), 'message')} again?", abort=True, err=True)
        results: Sequence[MessageRetry] = asyncio.run(_retry(settings, "retry", message_ids))
    if as_json:
        print_json(results)
    else:
        for result in results:
            click.echo(
                f"{result.id}  {'queued again' if result.queued else f'not changed: {result.problem}'}"
            )
        click.echo(f"{plural(sum(result.queued for result in results), 'message')} queued again")
    sys.exit(1 if ids and not all(result.queued for result in results) else 0)


@command.command()
@ids_argument
@click.option("--client", default="", callback=refuse_empty, help="All failed callbacks of this client.")
@click.option(
    "--host",
    default="",
    callback=refuse_empty,
    help="All failed callbacks to this host; with :PORT only those to this port.",
)
@click.option("--all", "all_failed", is_flag=True, help="All failed callbacks.")
@yes_option
@json_option
@config_option
def tell(
    ids: Sequence[str],
    client: str,
    host: str,
    all_failed: bool,
    yes: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """Make failed callbacks now: those that wait for their next attempt, and those that were given up.

    An ID is any id of a message that show accepts. Each callback gets all its attempts again, and a host that rests is
    called at once. If a gateway runs on this machine, it does this now; without one, it happens at the next start.
    """
    if bool(ids) + bool(client or host) + all_failed != 1:
        raise click.UsageError("give either IDs, or --client, --host or both, or --all")
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        require_known(settings, client=client, route="")
        query = partial(retries.ids_with_failed_callbacks, client=client, host=host)
        message_ids = asyncio.run(find_ids(settings, ids) if ids else store.fetch(settings, query))
        if message_ids and not (ids or yes):
            question = f"Make the failed callbacks of {plural(len(message_ids), 'message')} now?"
            click.confirm(question, abort=True, err=True)
        results: Sequence[CallbackRetry] = asyncio.run(_retry(settings, "tell", message_ids))
    if as_json:
        print_json(results)
    else:
        for result in results:
            click.echo(f"{result.id}  {callback_retry_text(result)}")
        click.echo(f"{plural(sum(result.callbacks for result in results), 'callback')} to be made now")
    sys.exit(1 if ids and not all(result.callbacks for result in results) else 0)


async def _retry(settings: Settings, operation: str, ids: Sequence[str]) -> list[Any]:
    return await change_messages(settings, operation, ids, lambda part: RetryRequest(ids=part)) if ids else []
