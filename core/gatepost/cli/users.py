"""What ``gatepost forget``, ``gatepost export`` and ``gatepost contact`` share: the user that an operator names."""

import asyncio
from functools import partial

import rich_click as click

from gatepost.cli import store
from gatepost.cli.common import fail, printable
from gatepost.config.settings import Settings
from gatepost.outbox import user_data
from gatepost.web.admin.requests import MAX_USER

_SHOWN = 80

user_argument = click.argument("user", metavar="USER")
client_option = click.option(
    "--client", help="The client whose user it is; required if several clients have the id."
)


def name_of(user: str) -> str:
    """Return a user's id as it is shown to an operator."""
    return printable(user if len(user) <= _SHOWN else f"{user[:_SHOWN]}...")


def find_client(settings: Settings, user: str, client: str | None) -> str:
    """Return the client of whose user something is stored; end the command if there is none, or are several."""
    if problem := user_problem(user):
        fail(f"there is no such user: {problem}")
    now = asyncio.run(store.fetch(settings, store.clock(settings)))
    query = partial(user_data.find_clients, ext_user_id=user, now=now)
    found = asyncio.run(store.fetch(settings, query))
    if client is not None and client not in found:
        others = f"; something is stored of the user of {_names(found)}" if found else ""
        fail(f"nothing is stored of user {name_of(user)} of client {printable(client)}{others}")
    if not found:
        fail(f"nothing is stored of user {name_of(user)}: USER is the ext_user_id, letter by letter")
    if client is None and len(found) > 1:
        fail(f"several clients have a user {name_of(user)}: name one with --client: {_names(found)}")
    return client if client is not None else found[0]


def _names(clients: list[str]) -> str:
    return printable(", ".join(clients))


def user_problem(user: str) -> str:
    """Return why no request can have had this id; empty where it can."""
    if not 1 <= len(user) <= MAX_USER:
        return f"an ext_user_id has 1 to {MAX_USER} characters"
    if "\0" in user:
        return "an ext_user_id has no NUL"
    try:
        user.encode()
    except UnicodeEncodeError:
        return "an ext_user_id is UTF-8"
    return ""
