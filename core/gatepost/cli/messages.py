"""``gatepost messages``."""

import asyncio
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.text import Text

from gatepost.cli import store
from gatepost.cli.common import config_option, counted, fail, faults_shown, shown
from gatepost.config.settings import Settings
from gatepost.config.toml_file import locate
from gatepost.model import Channel
from gatepost.outbox import CallbackRetry, MessageRetry, queries, retries
from gatepost.outbox.queries import MessageView, StatusView
from gatepost.outbox.states import CallbackState, State
from gatepost.web.admin import RestingInstance

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")

_COLOURS = {
    State.SENT: "green",
    State.REJECTED: "red",
    State.FAILED: "red",
    State.SUSPECT: "yellow",
    State.HELD: "yellow",
    State.UNCERTAIN: "yellow",
}
_CALLBACK_STATES = {
    CallbackState.NONE: "recorded",
    CallbackState.WAITING: "waits for the one before",
    CallbackState.QUEUED: "to be told",
    CallbackState.CALLING: "being told",
    CallbackState.ACKNOWLEDGED: "acknowledged",
    CallbackState.DEAD: "given up",
}


@click.group()
def command() -> None:
    """See what became of messages; send again what failed, tell now what was not heard."""


@command.command("list")
@click.argument("states", nargs=-1, type=click.Choice([state.value for state in State]))
@click.option("--dead", is_flag=True, help="Only those with a callback that was given up.")
@click.option(
    "--channel", type=click.Choice([channel.value for channel in Channel]), help="Only of this channel."
)
@click.option("--client", help="Only of this client.")
@click.option("--user", help="Only to this user (ext_user_id).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
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
    """The newest messages, of all STATES or of those given."""
    wanted = {"channel": channel, "client": client, "ext_user_id": user}
    at = partial(
        queries.list_messages,
        states=[State(state) for state in states],
        dead=dead,
        only={name: value for name, value in wanted.items() if value is not None},
        # One more shows whether there are more.
        most=limit + 1,
    )
    with faults_shown(locate(config)):
        found = asyncio.run(store.look(store.settings_of_store(config), at))
    if as_json:
        _print_json(found[:limit])
        return
    console = Console(highlight=False)
    for one in found[:limit]:
        console.print(_brief(one))
    if not found:
        console.print("There is none.", style="dim")
    elif len(found) > limit:
        console.print(f"The newest {limit}; --limit shows more.", style="dim")


@command.command()
@click.argument("identity", metavar="ID")
@json_option
@config_option
def show(identity: str, as_json: bool, config: Path | None) -> None:
    """One message in full, by its ext_message_id, by Smartico's uid or by the provider's id."""
    with faults_shown(locate(config)):
        settings = store.settings_of_store(config)
        one = asyncio.run(_one(settings, identity))
        waits = one.state in {State.QUEUED, State.SUSPECT}
        resting = asyncio.run(_resting(settings, Channel(one.channel))) if waits else ""
    if as_json:
        _print_json(one)
    else:
        Console(highlight=False).print(_full(one, resting))


ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
yes_option = click.option("--yes", is_flag=True, help="Don't ask.")


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
    """Send failed and held messages again, each by any ID that show takes.

    A message is due at once, with a fresh lifetime. A gateway that runs does it; without one it is written
    down for the next start.
    """
    if bool(ids) == (failed or held):
        raise click.UsageError("give either ids or --failed, --held")
    with faults_shown(locate(config)):
        settings = store.settings_of_store(config)
        states = [state for state, wanted in ((State.FAILED, failed), (State.HELD, held)) if wanted]
        which = partial(retries.given_up, states=states)
        wanted = asyncio.run(_by_id(settings, ids) if ids else store.look(settings, which))
        if wanted and not (ids or yes):
            click.confirm(f"Send {counted(len(wanted), 'message')} again?", abort=True, err=True)
        retried = asyncio.run(store.retry(settings, wanted)) if wanted else []
    if as_json:
        _print_json(retried)
    else:
        for one in retried:
            click.echo(f"{one.id}  {'queued again' if one.queued else f'not changed: {one.problem}'}")
        click.echo(f"{counted(sum(one.queued for one in retried), 'message')} queued again")
    sys.exit(1 if ids and not all(one.queued for one in retried) else 0)


@command.command()
@ids_argument
@click.option("--client", default="", help="Callbacks of this client that failed.")
@click.option("--host", default="", help="Callbacks to this host that failed; with :PORT to this port alone.")
@click.option("--all", "every", is_flag=True, help="All callbacks that failed.")
@yes_option
@json_option
@config_option
def retry_callbacks(
    ids: Sequence[str],
    client: str,
    host: str,
    every: bool,
    yes: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """Make callbacks now that failed: those that wait for their next try, and those that were given up.

    An ID is a message's, as show takes it. The callbacks have all their tries again, and a host that rests is
    tried at once. A gateway that runs on this machine does it; without one it is written down for the next
    start.
    """
    if bool(ids) + bool(client or host) + every != 1:
        raise click.UsageError("give either ids, or --client, --host, or --all")
    with faults_shown(locate(config)):
        settings = store.settings_of_store(config)
        which = partial(retries.failed_callbacks, client=client, host=host)
        wanted = asyncio.run(_by_id(settings, ids) if ids else store.look(settings, which))
        if wanted and not (ids or yes):
            click.confirm(f"Call back about {counted(len(wanted), 'message')} now?", abort=True, err=True)
        callback_retries = asyncio.run(store.retry_callbacks(settings, wanted)) if wanted else []
    if as_json:
        _print_json(callback_retries)
    else:
        for one in callback_retries:
            click.echo(f"{one.id}  {_callback_retry(one)}")
        click.echo(f"{counted(sum(one.callbacks for one in callback_retries), 'callback')} to be made now")
    sys.exit(1 if ids and not all(one.callbacks for one in callback_retries) else 0)


async def _one(settings: Settings, identity: str) -> MessageView:
    found = await store.look(settings, partial(queries.known_by, identity=identity))
    if not found:
        fail(
            f"no message is known by {shown(identity)}: it was refused when it came, or it ended longer ago "
            "than delivery.retention"
        )
    if len(found) > 1:
        each = "".join(f"\n  {one.id}  {one.channel} of {shown(one.client)}, {one.state}" for one in found)
        fail(f"{shown(identity)} is the id of several messages; say which:{each}")
    return found[0]


async def _by_id(settings: Settings, ids: Sequence[str]) -> list[str]:
    return [(await _one(settings, identity)).id for identity in ids]


def _print_json(found: MessageView | Sequence[MessageView | MessageRetry | CallbackRetry]) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(_readable(msgspec.to_builtins(found)))).decode())


def _readable(value: Any) -> Any:
    """The same with its times as ``when`` writes them; a time's name ends in ``_at``."""
    match value:
        case dict():
            return {
                name: when(one) if name.endswith("_at") and one is not None else _readable(one)
                for name, one in value.items()
            }
        case list():
            return [_readable(one) for one in value]
    return value


def _callback_retry(one: CallbackRetry) -> str:
    if one.problem:
        return f"not changed: {one.problem}"
    return f"{counted(one.callbacks, 'callback')} to {shown(one.target)} to be made now"


def _brief(one: MessageView) -> Text:
    text = Text(no_wrap=False)
    text.append(f"{when(one.created_at)}  {one.id}  {one.channel} ")
    text.append(one.state, _COLOURS.get(State(one.state), "bold"))
    text.append(f"\n    {shown(one.client)}, user {shown(one.ext_user_id)}, uid {shown(one.uid)}", "dim")
    told = [f"{status.status} {_told(status)}" for status in one.statuses]
    if told:
        text.append(f"\n    {'; '.join(told)}")
    if one.reason:
        text.append(f"\n    {_reason(one)}", "yellow")
    return text


def _told(status: StatusView) -> str:
    text = _CALLBACK_STATES[CallbackState(status.callback_state)]
    if status.callback_state == CallbackState.ACKNOWLEDGED or not status.problem:
        return text
    return f"{text} ({status.tries} {'try' if status.tries == 1 else 'tries'}: {shown(status.problem)})"


def _reason(one: MessageView) -> str:
    asked = f"{one.instance}: " if one.instance else ""
    return shown(f"{asked}{one.reason}{f' [{one.code}]' if one.code else ''}")


def _full(one: MessageView, resting: str) -> Text:
    rows = {
        "ext_message_id": one.id,
        "uid": one.uid,
        "channel": one.channel,
        "client": one.client,
        "user": one.ext_user_id,
        "state": one.state,
        "accepted": when(one.created_at),
        "next step": "" if one.due_at is None else when(one.due_at),
        "ended": "" if one.ended_at is None else when(one.ended_at),
        "tried until": "" if one.ended_at is not None else when(one.expires_at),
        "tries": str(one.tries),
        "process died": f"{counted(one.deaths, 'time')} while it had this in hand" if one.deaths else "",
        "last asked": one.instance,
        "provider's id": one.provider_id,
        "because": _reason(one) if one.reason else "",
        "resting": resting,
        "content": "kept" if one.content_kept else "erased",
    }
    text = Text()
    for name, value in rows.items():
        if value:
            text.append(f"{name:16}", "dim")
            text.append(
                f"{shown(value)}\n", _COLOURS.get(State(one.state), "bold") if name == "state" else ""
            )
    text.append("statuses\n" if one.statuses else "no status yet\n", "dim")
    for status in one.statuses:
        code = f" [{shown(status.code)}]" if status.code else ""
        text.append(f"  {when(status.recorded_at)}  {status.status}{code}: {_told(status)}")
        text.append(f", next try {when(status.next_try_at)}\n" if status.next_try_at else "\n")
    text.rstrip()
    return text


async def _resting(settings: Settings, channel: Channel) -> str:
    """Which instances of a channel's route rest, for how long and why; empty when none of them does."""
    try:
        return "; ".join(_rest(one) for one in await store.rests(settings, channel))
    except store.Unanswered as error:
        return f"not known: {error}"


def _rest(one: RestingInstance) -> str:
    until = f"for {math.ceil(one.seconds)} s more" if one.seconds else "until one message shows that it works"
    return f"{one.instance} {until}{f': {one.reason}' if one.reason else ''}"


def when(moment: float) -> str:
    """Seconds since the epoch in UTC, as the log has them (ISO 8601)."""
    return f"{datetime.fromtimestamp(moment, UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
