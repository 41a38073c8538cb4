"""``gatepost send``: sends one message through the running gateway and follows it."""

import asyncio
import sys
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import rich_click as click

from gatepost.cli import admin_client, store
from gatepost.cli.common import client_of, config_option, fail, printable, report_faults
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.model import Channel, Status
from gatepost.outbox import queries
from gatepost.outbox.queries import MessageView
from gatepost.outbox.states import FINAL_STATES, State
from gatepost.web.admin.requests import SendRequest

_POLL_INTERVAL = 0.3
"""Seconds between two reads of the message's state."""

_LAST_STATUSES = frozenset({Status.DELIVERED, Status.FAILED, Status.REJECTED})
"""Statuses after which the command waits for no other."""

_FAILURES = frozenset({Status.FAILED, Status.REJECTED})


@click.command()
@click.argument("channel", type=click.Choice([channel.value for channel in Channel]))
@click.option("--user", required=True, help="The user's id as Smartico knows it (ext_user_id).")
@click.option("--client", help="The client to send as; required if there are several [clients.NAME].")
@click.option("--from", "sender", help="The sender: an address or a number. Required for an email.")
@click.option("--subject", default="A test from Gatepost", show_default=True, help="The subject of an email.")
@click.option(
    "--body",
    default="This is a test.",
    show_default=True,
    help="The HTML of an email or the text of an SMS.",
)
@click.option("--no-wait", is_flag=True, help="End as soon as the gateway has accepted the message.")
@click.option(
    "--wait", default=60.0, show_default=True, metavar="SECONDS", help="How long to wait for the result."
)
@config_option
def command(  # noqa: PLR0913, PLR0917  click passes each option
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
    """Send one message through the running gateway, as Smartico would, and show its progress.

    The message is really sent, to the user that the contact sources find. Its statuses go to the client's
    callback_url. The exit code is 0 unless the message was refused or failed.
    """
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        fields = {"ext_user_id": user, "body": body}
        uid = f"test-{uuid4()}"
        if channel == Channel.EMAIL:
            if not sender:
                raise click.UsageError("an email needs --from")
            fields |= {"from_email_address": sender, "subject": subject, "email_uid": uid}
        else:
            fields |= {"im_uid": uid} | ({"from_number": sender} if sender else {})
        request = SendRequest(client=client_of(settings, client), channel=Channel(channel), fields=fields)
        succeeded = asyncio.run(_send(settings, request, 0.0 if no_wait else wait))
    sys.exit(0 if succeeded else 1)


async def _send(settings: Settings, request: SendRequest, wait: float) -> bool:
    try:
        answer = await admin_client.send(settings, request)
    except admin_client.GatewayNotRunning as error:
        fail(f"{error}: start it with gatepost serve")
    except admin_client.AdminError as error:
        fail(str(error))
    if answer.get("error_code") != 0:
        click.echo(f"refused with error_code {answer.get('error_code')}: {answer.get('error_message')}")
        return False
    identity = str(answer["ext_message_id"])
    click.echo(f"accepted as {identity}")
    return await _follow(settings, identity, wait) if wait else True


async def _follow(settings: Settings, identity: str, wait: float) -> bool:
    """Print each step of the message until the last one; return whether none of them was a failure."""
    deadline = time.monotonic() + wait
    step = ""
    printed = 0
    while True:
        (message,) = await store.fetch(settings, partial(queries.find_messages, identity=identity))
        if (new_step := _step(message)) != step:
            step = new_step
            click.echo(step)
        for status in message.statuses[printed:]:
            click.echo(f"status {status.status}")
        printed = len(message.statuses)
        statuses = {Status(status.status) for status in message.statuses}
        if statuses & _LAST_STATUSES:
            return not statuses & _FAILURES
        if time.monotonic() > deadline:
            click.echo(
                f"no last status within {wait:g} s; look later with: gatepost messages show {identity}"
            )
            return message.state not in FINAL_STATES or message.state == State.SENT
        await asyncio.sleep(_POLL_INTERVAL)


def _step(message: MessageView) -> str:
    through = f" through {printable(message.instance)}" if message.instance else ""
    # During a try the reason is still that of the try before, and has been printed already.
    has_reason = message.reason and message.state != State.SENDING
    reason = (
        f": {printable(message.reason)}{f' [{printable(message.code)}]' if message.code else ''}"
        if has_reason
        else ""
    )
    return f"{message.state}{through}{reason}"
