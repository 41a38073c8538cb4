"""``gatepost send``."""

import asyncio
import sys
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import rich_click as click

from gatepost.cli import store
from gatepost.cli.common import config_option, fail, faults_shown, shown
from gatepost.config.settings import Settings
from gatepost.config.toml_file import client_names, locate
from gatepost.model import Channel, Status
from gatepost.outbox import queries
from gatepost.outbox.queries import MessageView
from gatepost.outbox.states import ENDS, State
from gatepost.web.admin import SendRequest

_LOOK = 0.3
"""Seconds between two looks at what became of it."""

_LAST = frozenset({Status.DELIVERED, Status.FAILED, Status.REJECTED})
"""After these there is nothing more to wait for."""

_BAD = frozenset({Status.FAILED, Status.REJECTED})


@click.command()
@click.argument("channel", type=click.Choice([channel.value for channel in Channel]))
@click.option("--user", required=True, help="The user's id as Smartico knows it (ext_user_id).")
@click.option("--client", help="In whose name; needed where there are several [clients.NAME].")
@click.option("--from", "sender", help="An address or a number; an email needs one.")
@click.option("--subject", default="A test from Gatepost", show_default=True, help="Of an email.")
@click.option(
    "--body", default="This is a test.", show_default=True, help="HTML of an email, text of an SMS."
)
@click.option("--no-wait", is_flag=True, help="End when the gateway has it.")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait for what becomes of it.")
@config_option
def command(  # noqa: PLR0913, PLR0917  click hands each option over
    channel: str,
    user: str,
    client: str | None,
    sender: str | None,
    subject: str,
    body: str,
    no_wait: bool,
    wait: float,
    config: Path | None,
) -> None:
    """Send one message through the running gateway, as Smartico would, and say what became of it.

    It really goes out, to the user whom the contact sources find. Its statuses are called back where the
    client's callback_url says. The exit code is 0 unless it was refused or failed.
    """
    with faults_shown(locate(config)):
        settings = store.settings_of_store(config)
        fields = {"ext_user_id": user, "body": body}
        uid = f"test-{uuid4()}"
        if channel == Channel.EMAIL:
            if not sender:
                raise click.UsageError("an email needs --from")
            fields |= {"from_email_address": sender, "subject": subject, "email_uid": uid}
        else:
            fields |= {"im_uid": uid} | ({"from_number": sender} if sender else {})
        request = SendRequest(client=_client(settings, client), channel=Channel(channel), fields=fields)
        good = asyncio.run(_send(settings, request, 0.0 if no_wait else wait))
    sys.exit(0 if good else 1)


def _client(settings: Settings, given: str | None) -> str:
    # Of the file no more than the tables' names: the clients' secrets are in the gateway's environment.
    if given is not None:
        return given
    names = client_names(settings.path)
    if len(names) != 1:
        fail(f"say with --client in whose name; there are: {', '.join(names) or 'none'}")
    return names[0]


async def _send(settings: Settings, request: SendRequest, wait: float) -> bool:
    try:
        answer = await store.send(settings, request)
    except store.NoGateway as error:
        fail(f"{error}: start it with gatepost serve")
    except store.Unanswered as error:
        fail(str(error))
    if answer.get("error_code") != 0:
        click.echo(f"refused with error_code {answer.get('error_code')}: {answer.get('error_message')}")
        return False
    identity = str(answer["ext_message_id"])
    click.echo(f"accepted as {identity}")
    return await _follow(settings, identity, wait) if wait else True


async def _follow(settings: Settings, identity: str, wait: float) -> bool:
    """Print each step as it is taken, until there are no more; returns whether all of them were good."""
    deadline = time.monotonic() + wait
    step = ""
    told = 0
    while True:
        (one,) = await store.look(settings, partial(queries.known_by, identity=identity))
        if (now := _step(one)) != step:
            step = now
            click.echo(step)
        for status in one.statuses[told:]:
            click.echo(f"status {status.status}")
        told = len(one.statuses)
        known = {Status(status.status) for status in one.statuses}
        if known & _LAST:
            return not known & _BAD
        if time.monotonic() > deadline:
            click.echo(f"nothing more in {wait:g} s; later: gatepost messages show {identity}")
            return one.state not in ENDS or one.state == State.SENT
        await asyncio.sleep(_LOOK)


def _step(one: MessageView) -> str:
    through = f" through {shown(one.instance)}" if one.instance else ""
    # While it is being sent again, what stands there is of the last try, and was said then.
    told = one.reason and one.state != State.SENDING
    why = f": {shown(one.reason)}{f' [{shown(one.code)}]' if one.code else ''}" if told else ""
    return f"{one.state}{through}{why}"
