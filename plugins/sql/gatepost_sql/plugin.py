"""The hooks that Gatepost calls."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

import msgspec

from gatepost.errors import Faults, Unavailable
from gatepost.hookspecs import (
    BatchSource,
    ContactSource,
    ContactsState,
    Context,
    HasLifespan,
    HasPing,
    UserFinder,
    hookimpl,
)
from gatepost.model import Channel, Contact, Secret
from gatepost_sql.lookups import Lookups
from gatepost_sql.query import Query, parse_query, table_query
from gatepost_sql.settings import ID, Settings, setting_faults
from gatepost_sql.urls import open_database, url_warnings

MAX_USERS = 100
"""Users with the same address or number that are found."""

AGE_INTERVAL = 10.0
"""Seconds between two questions how far a standby is behind."""


class SqlSource(HasLifespan, HasPing, ContactSource, BatchSource, UserFinder):
    """A contact source that asks a database about each user."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        # The core cancels a lookup after this time; this plugin says why a moment earlier.
        self._deadline = context.lookup_timeout * 0.9
        self._context = context
        faults = Faults(setting_faults(settings))
        with faults:
            self._database = open_database(settings, context.folder, self._deadline)
        faults.expect_none()
        self._user_query: Query | None = None
        with faults:
            self._query = self._contact_query(settings)
        with faults:
            if settings.user_query:
                self._user_query = self._parse("user_query", settings.user_query, ("email", "phone"))
        faults.expect_none()
        self._lookups = Lookups(self._database, self._query, self._deadline)
        for text in url_warnings(settings.url):
            context.warn("url", text)
        if not self._database.batches:
            self.find_contacts = None  # type: ignore[method-assign, assignment]
        if self._user_query is None:
            self.find_user = None  # type: ignore[method-assign, assignment]

    def _contact_query(self, settings: Settings) -> Query:
        if settings.query:
            return self._parse("query", settings.query, (ID,))
        text = table_query(settings.table, settings.columns, self._database.name_mark)
        return self._parse("table", text, (ID,))

    def _parse(self, key: str, text: str, parameters: Sequence[str]) -> Query:
        return parse_query(key, text, parameters, mysql=self._database.mysql)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Check the queries where the database answers, and keep connections until the plugin stops."""
        await self._database.open()
        try:
            await self._review()
            age = asyncio.create_task(self._watch_age())
            try:
                yield
            finally:
                age.cancel()
                await asyncio.wait([age])
        finally:
            await self._database.close()

    async def _review(self) -> None:
        """Warn of what makes the queries slow or dangerous; raises ConfigError for one that can't be used."""
        try:
            samples: dict[str, object] = {
                ID: await self._lookups.inspect(),
                "email": "gatepost",
                "phone": "gatepost",
            }
            if self._user_query:
                await self._lookups.inspect_users(self._user_query)
            for query in (self._query, *([self._user_query] if self._user_query else [])):
                sample = {name: samples[name] for name in query.parameters}
                for text in await self._lookups.review(query, sample):
                    self._context.warn(query.key, text)
        except Unavailable as error:
            self._context.log.warning("contacts_database_away", reason=error.reason, code=error.code)

    @hookimpl
    async def ping(self) -> None:
        """Look nobody up."""
        await self._lookups.look_nobody_up()

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        found = (await self._lookups.contacts([ext_user_id])).get(ext_user_id)
        if isinstance(found, Unavailable):
            raise found
        return found

    @hookimpl
    async def find_contacts(self, ext_user_ids: Sequence[str]) -> Mapping[str, Contact | Unavailable]:
        return await self._lookups.contacts(ext_user_ids)

    @hookimpl
    async def find_user(self, channel: Channel, recipient: Secret) -> Sequence[str]:
        query, name = self._user_query, "email" if channel is Channel.EMAIL else "phone"
        text = recipient.reveal()
        if query is None or name not in query.parameters or "\0" in text:
            return []
        return await self._lookups.users(query, {"email": None, "phone": None, name: text}, MAX_USERS)

    async def _watch_age(self) -> None:
        """Describe how old the data of a standby are, again and again."""
        is_described = False
        while True:
            with suppress(Unavailable):
                age = await self._lookups.in_time(self._database.data_age)
                if is_described or age is not None:
                    self._context.describe_contacts(ContactsState(as_of=time.time() - (age or 0.0)))
                    is_described = True
            await asyncio.sleep(AGE_INTERVAL)
