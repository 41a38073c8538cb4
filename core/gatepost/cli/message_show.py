"""``gatepost messages show``: what became of one message, and what comes next."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import rich_click as click
from sqlalchemy import Connection

from gatepost.cli import store
from gatepost.cli.common import config_option, report_faults
from gatepost.cli.message_ids import no_such_message, only_one
from gatepost.cli.message_timeline import Surroundings, next_steps, timeline
from gatepost.cli.message_view import output, print_json, print_message, refusals_text
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.model import Channel
from gatepost.outbox import pauses, queries, refusals
from gatepost.outbox.audit import AuditView
from gatepost.outbox.message_acts import acts_on
from gatepost.outbox.pauses import Pause
from gatepost.outbox.queries import MessageView
from gatepost.outbox.records import Queue
from gatepost.outbox.refusals import RefusalView
from gatepost.outbox.states import State


class _Found(NamedTuple):
    """What the store has of an id, in one moment."""

    messages: Sequence[MessageView]
    refusals: Sequence[RefusalView]
    acts: Sequence[AuditView]
    pauses: Sequence[Pause]
    now: int
    """The store's time, in milliseconds since the epoch."""


@click.command("show")
@click.argument("identity", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def command(identity: str, as_json: bool, config: Path | None) -> None:
    """Show what became of one message. ID is its ext_message_id, Smartico's uid or the provider's id.

    One column of times has its acceptance, each try, each status, what Smartico answered to the callbacks, and what
    operators did; below it stands what comes next. A uid of which only refused requests are known shows these.
    """
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        found = asyncio.run(_find(settings, identity))
        if not found.messages and found.refusals:
            _show_refusals(found.refusals, as_json=as_json)
            return
        message = only_one(identity, found.messages)
        around = asyncio.run(_surroundings(settings, message, found))
    happened = timeline(message, found.acts, _refusals_of(message, found.refusals))
    following = next_steps(message, around)
    if as_json:
        steps = {"timeline": msgspec.to_builtins(happened), "next": msgspec.to_builtins(following)}
        print_json({**msgspec.to_builtins(message), **steps})
    else:
        print_message(message, happened, following)


def _show_refusals(found: Sequence[RefusalView], *, as_json: bool) -> None:
    if as_json:
        print_json({"refusals": msgspec.to_builtins(found)})
        return
    output().print(refusals_text(found))
    click.echo("No message was accepted with this uid.")


async def _find(settings: Settings, identity: str) -> _Found:
    clock = store.clock(settings)

    def query(connection: Connection) -> _Found:
        found = queries.find_messages(connection, identity)
        message = found[0] if len(found) == 1 else None
        now = clock(connection)
        return _Found(
            found,
            refusals.find(connection, uid=identity if message is None else message.uid),
            acts_on(connection, message) if message else (),
            pauses.in_force(connection, now),
            now,
        )

    found = await store.fetch(settings, query)
    if not found.messages and not found.refusals:
        no_such_message(identity)
    return found


def _refusals_of(message: MessageView, found: Sequence[RefusalView]) -> list[RefusalView]:
    """Return the refusals of requests with the uid of this message."""
    return [one for one in found if (one.client, one.channel) == (message.client, message.channel)]


async def _surroundings(settings: Settings, message: MessageView, found: _Found) -> Surroundings:
    around = Surroundings(now=found.now / 1000, delivery=settings.delivery)
    if message.state not in {State.QUEUED, State.SUSPECT}:
        return around
    channel = Channel(message.channel)
    queue = Queue(0, channel, message.route, message.client)
    stopping = [one for one in found.pauses if one.scope.matches(queue, one.scope.plugin)]
    around = msgspec.structs.replace(around, pauses=stopping)
    try:
        return msgspec.structs.replace(around, resting=await store.resting_instances(settings, channel))
    except store.AdminError as error:
        return msgspec.structs.replace(around, problem=str(error))
