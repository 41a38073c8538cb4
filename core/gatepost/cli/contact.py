"""``gatepost contact``: what the contact sources know of a user, without the address."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import rich_click as click
from sqlalchemy import Connection

from gatepost import app
from gatepost.cli import admin_client, store
from gatepost.cli.changes import change
from gatepost.cli.common import client_of, config_option, fail, printable, report_faults
from gatepost.cli.contact_view import ContactView, as_json, as_text
from gatepost.cli.users import user_argument, user_problem
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.contacts.examination import ContactReport, Examination, examine
from gatepost.contacts.lookup import Contacts
from gatepost.errors import ConfigError, Fault
from gatepost.outbox import suppressions
from gatepost.outbox.suppressions import Suppression
from gatepost.plugin_host.instances import Instance
from gatepost.plugin_host.isolation import default_close_timeout
from gatepost.plugin_host.startup import OpenInstances
from gatepost.web.admin import known_names
from gatepost.web.admin.requests import ContactRequest, RevealRequest

_MARGIN = 10.0
"""Seconds for the gateway's answer beyond those that the contact sources may take."""


@click.command()
@user_argument
@click.option("--client", help="The client whose user it is; required if there are several [clients.NAME].")
@click.option(
    "--reveal",
    is_flag=True,
    help="Also print the address and the number. This is recorded in the audit log, with your account.",
)
@click.option("--json", "json", is_flag=True, help="Print JSON, for programs.")
@config_option
def command(user: str, *, client: str | None, reveal: bool, json: bool, config: Path | None) -> None:
    """Show what the contact sources know of a user, without the address. USER is the ext_user_id.

    The sources are asked as for a message: by the gateway that runs here, or, without one and with --reveal, by this
    command itself, which opens them as the gateway would. It sends nothing. The exit code is 1 if no source knows the user.
    """
    path = config_path(config)
    with report_faults(path):
        settings = store.load_settings(config)
        name = _known_client(settings, client)
        if problem := user_problem(user):
            fail(f"there is no such user: {problem}")
        addresses: Mapping[str, str] = {}
        if reveal:
            # First the record: without it nothing is revealed.
            asyncio.run(change(settings, "reveal", RevealRequest(client=name, ext_user_id=user)))
            report, found = asyncio.run(_examine_here(path, name, user))
            addresses = {channel.value: one.reveal() for channel, one in found.items()}
        else:
            report = asyncio.run(_examine(settings, path, name, user))
        suppression, problem = asyncio.run(_suppression(settings, name, user))
    view = ContactView(report, suppression, problem, addresses)
    click.echo(as_json(view) if json else as_text(view))
    sys.exit(0 if report.is_known else 1)


def _known_client(settings: Settings, client: str | None) -> str:
    name = client_of(settings, client)
    if name not in settings.clients:
        advice = known_names.advice(name, settings.clients)
        fail(f"the configuration has no client {printable(name)}; {advice}")
    return name


async def _examine(settings: Settings, path: Path, client: str, user: str) -> ContactReport:
    """Return the report of the gateway that runs here, or one of this process where none does."""
    sources = settings.contact_sources(client)
    max_seconds = _MARGIN + len(sources) * settings.contacts.timeout
    try:
        async with admin_client.open_gateway(settings, max_seconds) as gateway:
            answer = await gateway.request("contact", ContactRequest(client=client, ext_user_id=user))
            return admin_client.decode(answer, ContactReport)
    except admin_client.GatewayNotRunning:
        return (await _examine_here(path, client, user)).report
    except admin_client.AdminError as error:
        fail(str(error))


async def _examine_here(path: Path, client: str, user: str) -> Examination:
    """Open the sources of the client, and ask them about the user. Raises ConfigError where they can't be opened."""
    async with _open_contacts(path, client) as contacts:
        return await examine(contacts, client, user)


@asynccontextmanager
async def _open_contacts(path: Path, client: str) -> AsyncIterator[Contacts]:
    """Open the sources of one client as the gateway would; other plugins may have faults."""
    settings, instances, faults = app.examine(path)
    if settings is None or client not in settings.clients:
        raise ConfigError(faults)
    names = settings.contact_sources(client)
    if theirs := [fault for fault in faults if _concerns(fault, client, names)]:
        raise ConfigError(theirs)
    sources: list[Instance] = [instances[name] for name in names]
    opened = OpenInstances(default_close_timeout)
    try:
        await opened.open(sources)
        yield Contacts({client: sources}, settings.contacts.timeout, settings.contacts.default_region)
    finally:
        await opened.close_all()


def _concerns(fault: Fault, client: str, sources: tuple[str, ...]) -> bool:
    """Return whether a fault is one of the contact sources of a client."""
    keys = ("contacts", f"clients.{client}.contacts", *(f"plugins.{name}" for name in sources))
    return any(fault.key == key or fault.key.startswith(f"{key}.") for key in keys)


async def _suppression(settings: Settings, client: str, user: str) -> tuple[Suppression | None, str]:
    """Return the suppression of the user in the store, and why it can't be read."""

    def query(connection: Connection) -> list[Suppression]:
        now = store.clock(settings)(connection) / 1000
        return suppressions.list_suppressions(connection, now, client=client, ext_user_id=user, limit=1)

    try:
        return next(iter(await store.read(settings, query)), None), ""
    except store.StoreUnreadable as error:
        return None, str(error)
