"""``gatepost messages show``: what became of one message, and what comes next."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import rich_click as click

from gatepost.cli import admin_client, store
from gatepost.cli.common import config_option, report_faults
from gatepost.cli.message_ids import no_such_message, only_one
from gatepost.cli.message_view import output, print_json, print_message, refusals_text
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.model import Channel
from gatepost.outbox.queries import MessageView
from gatepost.outbox.refusals import RefusalView
from gatepost.web.admin import message_history
from gatepost.web.admin.message_history import Found
from gatepost.web.admin.message_timeline import Surroundings, next_steps


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
    happened = message_history.happened(message, found, settings)
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


async def _find(settings: Settings, identity: str) -> Found:
    query = partial(message_history.find, identity=identity, clock=store.clock(settings))
    found = await store.fetch(settings, query)
    if not found.messages and not found.refusals:
        no_such_message(identity)
    return found


async def _surroundings(settings: Settings, message: MessageView, found: Found) -> Surroundings:
    around = message_history.surroundings(message, found, settings)
    if not message_history.depends_on_others(message):
        return around
    try:
        resting = await admin_client.resting_instances(settings, Channel(message.channel))
    except admin_client.AdminError as error:
        return msgspec.structs.replace(around, problem=str(error))
    own = message_history.instances_of(message, settings)
    return msgspec.structs.replace(around, resting=[one for one in resting if one.instance in own])
