"""The solution of the exercise "SQL": contacts in a table, one by one, by the hundred, and whose a number is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta
from sqlalchemy import Column, Engine, MetaData, Row, String, Table, create_engine, select
from sqlalchemy.exc import SQLAlchemyError

from gatepost.errors import ConfigError, Fault, Unavailable
from gatepost.hookspecs import (
    BatchSource,
    ContactSource,
    Context,
    HasLifespan,
    HasPing,
    UserFinder,
    hookimpl,
)
from gatepost.model import Channel, Contact, Secret

T = TypeVar("T")

MAX_USERS = 100
"""Users of one number that are returned: a family may share one."""

PLAYERS = Table(
    "players",
    MetaData(),
    Column("id", String(512), primary_key=True),
    # As the player typed them.
    Column("email", String),
    Column("phone", String),
    # As Gatepost asks for them: the CRM keeps these two beside the others, each with an index.
    Column("canonical_email", String, index=True),
    Column("e164_phone", String, index=True),
    Column("excluded", String),
)

_CONTACT = select(PLAYERS.c.id, PLAYERS.c.email, PLAYERS.c.phone, PLAYERS.c.excluded)
_CANONICAL = {Channel.EMAIL: PLAYERS.c.canonical_email, Channel.SMS: PLAYERS.c.e164_phone}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "crm-sql"``."""

    url: Annotated[Secret, Meta(description="the database as a URL of SQLAlchemy, with user and password")]
    connections: Annotated[int, Meta(ge=1, le=64, description="connections to the database")] = 4


class CrmSql(HasLifespan, HasPing, ContactSource, BatchSource, UserFinder):
    """The players in one database."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._engine = _engine(settings)
        self._connections = settings.connections
        # Gatepost cancels a lookup after this time; this plugin says why a moment earlier.
        self._deadline = context.lookup_timeout * 0.9

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep a pool of connections and a thread for each; threads of its own, so that a slow database delays nobody."""
        self._threads = ThreadPoolExecutor(self._connections, thread_name_prefix="crm-sql")
        try:
            yield
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._engine.dispose()

    @hookimpl
    async def ping(self) -> None:
        """Ask for a player that does not exist."""
        await self._in_thread(lambda: self._contacts([""]))

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        """Look one player up."""
        return (await self.find_contacts([ext_user_id])).get(ext_user_id)

    @hookimpl
    async def find_contacts(self, ext_user_ids: Sequence[str]) -> Mapping[str, Contact]:
        """Look up to a hundred players up with one query."""
        return await self._in_thread(lambda: self._contacts(ext_user_ids))

    @hookimpl
    async def find_user(self, channel: Channel, recipient: Secret) -> Sequence[str]:
        """Return the players with a number or an address."""
        return await self._in_thread(lambda: self._owners(channel, recipient.reveal()))

    def _contacts(self, ext_user_ids: Iterable[str]) -> dict[str, Contact]:
        # An id that is no UTF-8 would fail the query, and with it the lookups of all the others.
        ids = {one for one in ext_user_ids if _storable(one)}
        with self._engine.connect() as connection:
            rows = connection.execute(_CONTACT.where(PLAYERS.c.id.in_(ids))).all()
        # Some databases compare without regard to case: a player whose id differs is another one.
        return {row.id: _contact(row) for row in rows if row.id in ids}

    def _owners(self, channel: Channel, recipient: str) -> list[str]:
        if not _storable(recipient):
            return []
        query = select(PLAYERS.c.id).where(_CANONICAL[channel] == recipient).limit(MAX_USERS)
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Return the result of a call that waits for the database; raise Unavailable where it fails or takes too long."""
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (SQLAlchemyError, TimeoutError, OSError) as error:
            # Only the error's type is passed on: its text may quote the query.
            reason = type(error).__name__
        raise Unavailable(f"the database can't answer ({reason})")


def _engine(settings: Settings) -> Engine:
    """Return an engine, which has no connection yet; raise ConfigError for a URL that can't be used."""
    try:
        return create_engine(
            settings.url.reveal(),
            pool_size=settings.connections,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except (SQLAlchemyError, ImportError, ValueError, TypeError):
        # Outside of this block: the error may quote the password.
        pass
    raise ConfigError([Fault("url", "is no URL of SQLAlchemy, or its driver is not installed")])


def _storable(text: str) -> bool:
    """Return whether a database can hold this text: UTF-8 without NUL."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _contact(row: Row[Any]) -> Contact:
    return Contact(
        email=Secret(row.email) if row.email else None,
        phone=Secret(row.phone) if row.phone else None,
        blocked=row.excluded or "",
    )
