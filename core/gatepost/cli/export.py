"""``gatepost export``: hands out what is stored of one user (GDPR article 15)."""

import asyncio
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import rich_click as click

from gatepost.cli import store
from gatepost.cli.changes import change
from gatepost.cli.common import config_option, fail, printable, report_faults
from gatepost.cli.message_view import json_text
from gatepost.cli.users import client_option, find_client, name_of, user_argument
from gatepost.config.toml_file import config_path
from gatepost.content_keys import ContentKeys
from gatepost.outbox import user_data
from gatepost.outbox.user_data import UserData
from gatepost.web.admin.requests import ExportRequest
from gatepost.web.admin.words import plural

_NOTES = (
    "This is what Gatepost stores of the user. Times are in UTC.",
    (
        "Gatepost stores no address, no number and no name of the user: it looks them up for each message in the operator's own "
        "systems, of which the operator has to give a copy."
    ),
    (
        "The content of a message is erased when a provider has taken or refused it; `content` holds what is still stored, and "
        "`content_until_at` when that is erased at the latest."
    ),
    "The audit log names the user by a keyed hash, `user_hash`.",
    "Logs, backups, Smartico, and the providers that sent the messages may have more.",
)


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What the command prints."""

    exported_at: float
    notes: tuple[str, ...] = _NOTES
    stored: UserData


@click.command()
@user_argument
@client_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this new file, which only you can read (mode 0600), instead of printing.",
)
@config_option
def command(user: str, client: str | None, output: Path | None, config: Path | None) -> None:
    """Print all that is stored of one user, as JSON. USER is the ext_user_id.

    Each export is recorded in the audit log. The exit code is 1 if nothing is stored of the user.
    """
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        name = find_client(settings, user, client)
        # First the record: without it there is no export.
        asyncio.run(change(settings, "export", ExportRequest(client=name, ext_user_id=user)))
        now = asyncio.run(store.fetch(settings, store.clock(settings)))
        retention = settings.delivery.retention
        keys = ContentKeys(settings.store.content_keys)
        query = partial(
            user_data.collect, client=name, ext_user_id=user, now=now, retention=retention, keys=keys
        )
        stored = asyncio.run(store.fetch(settings, query))
    text = json_text(Export(exported_at=datetime.now(UTC).timestamp(), stored=stored))
    if output is None:
        click.echo(text)
        return
    with os.fdopen(_create(output), "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
    message = (
        f"{name_of(user)} of {printable(name)}: {plural(len(stored.messages), 'message')} written to {output}"
    )
    click.echo(printable(message), err=True)


def _create(path: Path) -> int:
    """Create the file and return its descriptor; end the command where that is not possible."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        fail(f"{printable(str(path))} exists already: name a new file")
    except OSError as error:
        fail(f"{printable(str(path))} can't be created: {error.strerror}")
