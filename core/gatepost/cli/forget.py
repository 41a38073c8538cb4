"""``gatepost forget``: erases what is stored of one user (GDPR article 17)."""

import asyncio
from functools import partial
from pathlib import Path

import rich_click as click

from gatepost.cli import admin_client, store
from gatepost.cli.changes import change
from gatepost.cli.common import config_option, printable, report_faults
from gatepost.cli.message_view import print_json
from gatepost.cli.users import client_option, find_client, name_of, user_argument
from gatepost.config.toml_file import config_path
from gatepost.outbox import user_data
from gatepost.outbox.forget import Forgetting
from gatepost.outbox.user_data import MessageCount
from gatepost.web.admin.requests import ForgetRequest
from gatepost.web.admin.words import plural


@click.command()
@user_argument
@client_option
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def command(user: str, *, client: str | None, yes: bool, as_json: bool, config: Path | None) -> None:
    """Erase what is stored of one user, for good. USER is the ext_user_id.

    Messages that wait are cancelled, and Smartico is told `rejected`. What is being sent now is erased when it has ended,
    and a callback URL when the last callback of its message has ended. New messages to the user are refused with
    error_code 13. The exit code is 1 if nothing is stored of the user.
    """
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        name = find_client(settings, user, client)
        if not yes:
            query = partial(user_data.count_messages, client=name, ext_user_id=user)
            count = asyncio.run(store.fetch(settings, query))
            click.confirm(_question(user, name, count), abort=True, err=True)
        request = ForgetRequest(client=name, ext_user_id=user)
        progress: Forgetting = asyncio.run(change(settings, "forget", request, admin_client.FORGET_TIMEOUT))
    if as_json:
        counts = "messages", "cancelled", "unfinished"
        print_json({name: getattr(progress, name) for name in counts})
    else:
        click.echo(_answer(user, name, progress))


def _question(user: str, client: str, count: MessageCount) -> str:
    of_these = (
        f", {count.open} of which {'has' if count.open == 1 else 'have'} not ended" if count.open else ""
    )
    return (
        f"Forget user {name_of(user)} of {printable(client)}, with {plural(count.all, 'message')}{of_these}? "
        "This can't be undone. The user is not contacted any more."
    )


def _answer(user: str, client: str, progress: Forgetting) -> str:
    text = (
        f"{name_of(user)} of {printable(client)} is forgotten: {plural(progress.messages, 'message')}, "
        f"{progress.cancelled} of them cancelled"
    )
    if progress.unfinished:
        text += (
            f"\n{plural(progress.unfinished, 'message')} not erased in full yet: being sent now, or a callback is open. "
            "The gateway erases the rest when that has ended."
        )
    return text
