"""The settings of a SQL contact source."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost.errors import Fault
from gatepost.model import Secret

ID = "ext_user_id"
ADDRESSES = ("email", "phone")
BLOCKED = "blocked"
KNOWN_COLUMNS = (ID, *ADDRESSES, BLOCKED)

_NO_COLUMNS: Mapping[str, str] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "sql"``."""

    url: Annotated[
        Secret,
        Meta(
            description="the database, with user and password: postgresql://, mysql://, mariadb://, sqlite:///, "
            "or another URL of SQLAlchemy",
            examples=["env:PLAYERS_URL"],
        ),
    ]
    query: Annotated[
        str,
        Meta(
            description="finds one user by :ext_user_id; its columns are email, phone, blocked and ext_user_id, "
            "and every other becomes an attribute",
            examples=["SELECT id AS ext_user_id, email, phone FROM players WHERE id = :ext_user_id"],
        ),
    ] = ""
    table: Annotated[
        str, Meta(description="instead of query: the table or view of the users", examples=["crm.players"])
    ] = ""
    columns: Annotated[
        Mapping[str, str],
        Meta(
            description="with table: its columns by the name that each has here",
            examples=[{"ext_user_id": "id", "email": "mail_address"}],
        ),
    ] = _NO_COLUMNS
    user_query: Annotated[
        str,
        Meta(
            description="finds the ext_user_id of everyone with an address or a number, by :email and :phone",
            examples=["SELECT id AS ext_user_id FROM players WHERE phone = :phone"],
        ),
    ] = ""
    connections: Annotated[int, Meta(ge=1, le=64, description="connections to the database")] = 4


def setting_faults(settings: Settings) -> Iterator[Fault]:
    """Yield what is wrong with the choice between query and table."""
    if bool(settings.query) == bool(settings.table):
        yield Fault("query", "write either query, or table and columns")
    if settings.query and settings.columns:
        yield Fault("columns", "goes with table; a query names its columns itself")
    if not settings.table:
        return
    if not all(settings.table.split(".")):
        yield Fault("table", "must be a name, or names with one point between them")
    columns = settings.columns
    if not columns.get(ID):
        yield Fault("columns", 'must name the column of the user id, as in { ext_user_id = "id" }')
    if not any(name in columns for name in (*ADDRESSES, BLOCKED)):
        yield Fault("columns", "names none of email, phone and blocked")
    if not all(columns.values()):
        yield Fault("columns", "holds an empty name")
