"""``gatepost messages``."""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console
from rich.text import Text

from gatepost.cli import store
from gatepost.cli.common import config_option, counted, fail, faults_shown, shown
from gatepost.model import Channel
from gatepost.outbox import Retried, Retry, operating, reading
from gatepost.outbox.reading import MessageView, ToldStatus
from gatepost.settings import Settings, locate
from gatepost.statuses import State, Telling

json_option = click.option(
    "--json", "as_json", is_flag=True, help="For programs; times are seconds since 1970."
)

_COLOURS = {
    State.SENT: "green",
    State.REJECTED: "red",
    State.FAILED: "red",
    State.SUSPECT: "yellow",
    State.HELD: "yellow",
    State.UNCERTAIN: "yellow",
}
_TELLING = {
    Telling.UNASKED: "recorded",
    Telling.WAITING: "waits for the one before",
    Telling.QUEUED: "to be told",
    Telling.CALLING: "being told",
    Telling.TOLD: "told",
    Telling.DEAD: "given up",
}


@click.group()
def command() -> None:
    """See what became of messages; send again what failed, tell again what was not heard."""


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
        reading.list_messages,
        states=[State(state) for state in states],
        dead=dead,
        only={name: value for name, value in wanted.items() if value is not None},
        most=limit,
    )
    with faults_shown(locate(config)):
        found = asyncio.run(store.look(store.settings_of_store(config), at))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    console = Console(highlight=False)
    for one in found:
        console.print(_brief(one))
    if not found:
        console.print("There is none.", style="dim")
    elif len(found) == limit:
        console.print(f"The newest {limit}; --limit shows more.", style="dim")


@command.command()
@click.argument("identity", metavar="ID")
@json_option
@config_option
def show(identity: str, as_json: bool, config: Path | None) -> None:
    """One message in full, by its ext_message_id, by Smartico's uid or by the provider's id."""
    with faults_shown(locate(config)):
        one = asyncio.run(_one(store.settings_of_store(config), identity))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(one)))
    else:
        Console(highlight=False).print(_full(one))


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--failed", is_flag=True, help="Send every failed message again.")
@click.option("--held", is_flag=True, help="Send every held message again.")
@click.option("--dead", is_flag=True, help="Tell every callback again that was given up.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
@config_option
def retry(
    ids: Sequence[str],
    failed: bool,
    held: bool,
    dead: bool,
    yes: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """Send failed and held messages again, and tell again what Smartico did not hear.

    By ID both, whichever there is to do. A message is due at once, with a fresh lifetime. A gateway that
    runs does it; without one it is written down for the next start.
    """
    if bool(ids) == (failed or held or dead):
        raise click.UsageError("give either IDs or --failed, --held, --dead")
    with faults_shown(locate(config)):
        read = store.settings_of_store(config)
        wishes = asyncio.run(_by_id(read, ids) if ids else _all(read, failed=failed, held=held, dead=dead))
        if wishes and not (ids or yes):
            click.confirm(f"Try {counted(len(wishes), 'message')} again?", abort=True, err=True)
        retried = asyncio.run(store.retry(read, wishes)) if wishes else []
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(retried)))
    else:
        for one in retried:
            click.echo(f"{one.id}  {_said(one)}")
        click.echo(_sum(retried))
    sys.exit(1 if ids and any(not (one.queued or one.callbacks) for one in retried) else 0)


async def _one(read: Settings, identity: str) -> MessageView:
    found = await store.look(read, partial(reading.known_by, identity=identity))
    if not found:
        fail(
            f"no message is known by {shown(identity)}: it was refused when it came, or it ended longer ago "
            "than delivery.retention"
        )
    if len(found) > 1:
        each = "".join(f"\n  {one.id}  {one.channel} of {shown(one.client)}, {one.state}" for one in found)
        fail(f"{shown(identity)} is the id of several messages; say which:{each}")
    return found[0]


async def _by_id(read: Settings, ids: Iterable[str]) -> list[Retry]:
    return [Retry(id=(await _one(read, identity)).id) for identity in ids]


async def _all(read: Settings, *, failed: bool, held: bool, dead: bool) -> list[Retry]:
    states = [state for state, wanted in ((State.FAILED, failed), (State.HELD, held)) if wanted]
    send = set(await store.look(read, partial(operating.given_up, states=states)))
    tell = set(await store.look(read, partial(operating.given_up, dead=dead)))
    return [Retry(id=one, send=one in send, tell=one in tell) for one in sorted(send | tell)]


def _said(one: Retried) -> str:
    done = ["queued again"] if one.queued else []
    done += [f"{counted(one.callbacks, 'callback')} to be told again"] if one.callbacks else []
    done += [one.problem if done else f"not changed: {one.problem}"] if one.problem else []
    return "; ".join(done)


def _sum(retried: Sequence[Retried]) -> str:
    sent, told = sum(one.queued for one in retried), sum(one.callbacks for one in retried)
    return f"{counted(sent, 'message')} queued again, {counted(told, 'callback')} to be told again"


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


def _told(status: ToldStatus) -> str:
    text = _TELLING[Telling(status.telling)]
    if status.telling == Telling.TOLD or not status.problem:
        return text
    return f"{text} ({status.tries} {'try' if status.tries == 1 else 'tries'}: {shown(status.problem)})"


def _reason(one: MessageView) -> str:
    asked = f"{one.instance}: " if one.instance else ""
    return shown(f"{asked}{one.reason}{f' [{one.code}]' if one.code else ''}")


def _full(one: MessageView) -> Text:
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


def when(moment: float) -> str:
    """Seconds since the epoch in the operator's own time."""
    return f"{datetime.fromtimestamp(moment, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
