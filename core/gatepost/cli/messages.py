"""``gatepost messages``: shows messages, and retries sends and callbacks."""

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import rich_click as click
from rich.console import Console

from gatepost.cli import store
from gatepost.cli.cancel import cancel
from gatepost.cli.changes import change_messages
from gatepost.cli.common import config_option, plural, report_faults
from gatepost.cli.message_ids import find_ids, find_message
from gatepost.cli.message_view import callback_retry_text, full_text, print_json, rest_text, short_text
from gatepost.cli.pause import pause_text, paused_now
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.model import Channel
from gatepost.outbox import CallbackRetry, MessageRetry, Queue, queries, retries
from gatepost.outbox.queries import MessageView
from gatepost.outbox.states import State
from gatepost.web.admin.requests import RetryRequest

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group()
def command() -> None:
    """Show the state of messages, cancel them, send failed messages again, and repeat failed callbacks."""


@command.command("list")
@click.argument("states", nargs=-1, type=click.Choice([state.value for state in State]))
@click.option("--dead", is_flag=True, help="Only messages with a callback that was given up.")
@click.option(
    "--channel",
    type=click.Choice([channel.value for channel in Channel]),
    help="Only messages of this channel.",
)
@click.option("--client", help="Only messages of this client.")
@click.option("--user", help="Only messages to this user (ext_user_id).")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="The largest number of messages.",
)
@json_option
@config_option
def list_(
    states: Sequence[State],
    dead: bool,
    channel: str | None,
    client: str | None,
    user: str | None,
    limit: int,
    as_json: bool,
    config: Path | None,
) -> None:
    """List the newest messages, in all states or only in the given ones."""
    filters = {"channel": channel, "client": client, "ext_user_id": user}
    query = partial(
        queries.list_messages,
        states=[State(state) for state in states],
        dead=dead,
        filters={name: value for name, value in filters.items() if value is not None},
        # One more than is shown, to know whether there are more.
        limit=limit + 1,
    )
    with report_faults(config_path(config)):
        found = asyncio.run(store.fetch(store.load_settings(config), query))
    if as_json:
        print_json(found[:limit])
        return
    console = Console(highlight=False)
    for message in found[:limit]:
        console.print(short_text(message))
    if not found:
        console.print("There is no such message.", style="dim")
    elif len(found) > limit:
        console.print(f"The newest {limit}; --limit shows more.", style="dim")


@command.command()
@click.argument("identity", metavar="ID")
@json_option
@config_option
def show(identity: str, as_json: bool, config: Path | None) -> None:
    """Show one message in full. ID is its ext_message_id, Smartico's uid or the provider's id."""
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        message = asyncio.run(find_message(settings, identity))
        is_waiting = message.state in {State.QUEUED, State.SUSPECT}
        resting = asyncio.run(_resting(settings, Channel(message.channel))) if is_waiting else ""
        paused = asyncio.run(_paused(settings, message)) if is_waiting else ""
    if as_json:
        print_json(message)
    else:
        Console(highlight=False).print(full_text(message, resting, paused))


ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
yes_option = click.option("--yes", is_flag=True, help="Don't ask for confirmation.")


@command.command()
@ids_argument
@click.option("--failed", is_flag=True, help="Send every failed message again.")
@click.option("--held", is_flag=True, help="Send every held message again.")
@yes_option
@json_option
@config_option
def retry(
    ids: Sequence[str], failed: bool, held: bool, yes: bool, as_json: bool, config: Path | None
) -> None:
    """Send failed and held messages again. An ID is any id that show accepts.

    A message is sent as soon as possible, and its lifetime begins again. If a gateway runs on this machine, it does
    this now; without one, it happens at the next start.
    """
    if bool(ids) == (failed or held):
        raise click.UsageError("give either IDs, or --failed, --held, or both")
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        states = [state for state, chosen in ((State.FAILED, failed), (State.HELD, held)) if chosen]
        query = partial(retries.ids_in_states, states=states)
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
@click.option("--client", default="", help="All failed callbacks of this client.")
@click.option(
    "--host", default="", help="All failed callbacks to this host; with :PORT only those to this port."
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


command.add_command(cancel)


async def _retry(settings: Settings, operation: str, ids: Sequence[str]) -> list[Any]:
    return await change_messages(settings, operation, ids, lambda part: RetryRequest(ids=part)) if ids else []


async def _paused(settings: Settings, message: MessageView) -> str:
    """Return which pauses a message waits for; empty when there is none."""
    queue = Queue(0, Channel(message.channel), message.route, message.client)
    found = await paused_now(settings)
    return "; ".join(pause_text(one) for one in found if one.scope.matches(queue, one.scope.plugin))


async def _resting(settings: Settings, channel: Channel) -> str:
    """Return which instances of a channel's route rest, for how long and why; empty when none does."""
    try:
        return "; ".join([rest_text(rest) for rest in await store.resting_instances(settings, channel)])
    except store.AdminError as error:
        return f"not known: {error}"
