"""Lookups in a database within a time, with every error as Unavailable or ConfigError."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from gatepost.errors import ConfigError, Fault, Unavailable
from gatepost.model import Contact
from gatepost_sql import rows
from gatepost_sql.database import Database, Failure
from gatepost_sql.query import Query
from gatepost_sql.reconnect import Resting

T = TypeVar("T")

_MAX_ID_LENGTH = 512


class UnknownText(Unavailable):
    """The database can't store such an id, so no user has it."""


class Lookups:
    """The lookups of one query that finds a contact, each within the deadline."""

    def __init__(self, database: Database, query: Query, deadline: float) -> None:
        """``deadline`` is in seconds."""
        self._database = database
        self._query = query
        self._deadline = deadline
        self._inspection: rows.Inspection | None = None

    async def contacts(self, ext_user_ids: Sequence[str]) -> Mapping[str, Contact | Unavailable]:
        """Return the contacts of users; Unavailable in the place of one that can't be used. Raises Unavailable."""
        inspection = await self._inspected_in_time()
        values = {one: value for one in ext_user_ids if (value := inspection.id_type.value(one)) is not None}
        found = await self._rows(values) if values else {}
        contacts = {one: _contact_or_error(one, own) for one, own in found.items()}
        return {one: contact for one, contact in contacts.items() if contact is not None}

    async def users(self, query: Query, values: Mapping[str, object], limit: int) -> Sequence[str]:
        """Return the ids that another query returns. Raises Unavailable."""
        found = await self.in_time(lambda: self._database.fetch(query, values, limit))
        ids = [rows.returned_id(row) for row in found]
        return list(dict.fromkeys(one for one in ids if one and len(one) <= _MAX_ID_LENGTH))

    async def look_nobody_up(self) -> None:
        """Run the query with a value that is probably of no user. Raises Unavailable."""
        inspection = await self._inspected_in_time()
        await self._rows({"": inspection.id_type.sample})

    async def inspect(self) -> object:
        """Check the query; return a value of its parameter for ``review``. Raises ConfigError and Unavailable."""
        return (await self.in_time(self._inspected, self._query.key)).id_type.sample

    async def inspect_users(self, query: Query) -> None:
        """Check a query that finds users. Raises ConfigError and Unavailable."""
        names = await self.in_time(lambda: self._database.columns(query), query.key)
        if problem := rows.users_problem(names):
            raise ConfigError([Fault(query.key, problem)])

    async def review(self, query: Query, sample: Mapping[str, object]) -> Sequence[str]:
        """Return warnings about a query. Raises ConfigError for one that can't be used, and Unavailable."""
        return await self.in_time(lambda: self._database.review(query, sample), query.key)

    async def _rows(self, values: Mapping[str, object]) -> Mapping[str, Sequence[rows.Row]]:
        """Return the rows of users by ext_user_id; leaves out users whose id the database can't even store."""
        id_type = (await self._inspected_in_time()).id_type
        try:
            return await self.in_time(lambda: self._database.find(self._query, id_type, values))
        except UnknownText:
            if len(values) == 1:
                return {}
        found: dict[str, Sequence[rows.Row]] = {}
        for one, value in values.items():
            found.update(await self._rows({one: value}))
        return found

    async def _inspected_in_time(self) -> rows.Inspection:
        """Return what the database says about the query; raises Unavailable also where the query can't be used."""
        if self._inspection is not None:
            return self._inspection
        try:
            return await self.in_time(self._inspected)
        except ConfigError as error:
            problem = f"{self._query.key}: {error.faults[0].problem}"
        raise Unavailable(problem, misconfigured=True)

    async def _inspected(self) -> rows.Inspection:
        """Ask the database about the query, once. Raises ConfigError for a query that can't be used."""
        if self._inspection is None:
            inspection = await self._database.inspect(self._query)
            if problem := rows.inspection_problem(inspection):
                raise ConfigError([Fault(self._query.key, problem)])
            self._inspection = inspection
        return self._inspection

    async def in_time(self, call: Callable[[], Awaitable[T]], key: str = "") -> T:
        """Return the result of a call to the database; raises Unavailable where it fails or takes too long.

        With the ``key`` of a setting, raises ConfigError where the query is wrong.
        """
        try:
            async with asyncio.timeout(self._deadline):
                return await call()
        except (Unavailable, ConfigError):
            raise
        except TimeoutError:
            failure = Failure("the database did not answer in time")
        except Resting:
            failure = Failure("the database could not be reached a moment ago")
        except Exception as error:
            known = self._database.failure(error)
            if known is None:
                raise
            failure = known
        # Outside of this block: the driver's error may quote values.
        if failure.is_unknown_text:
            raise UnknownText(failure.reason, code=failure.code)
        if failure.is_query and key:
            raise ConfigError([Fault(key, f"{failure.reason} ({failure.code})")])
        raise Unavailable(failure.reason, code=failure.code, misconfigured=failure.misconfigured)


def _contact_or_error(ext_user_id: str, own: Sequence[rows.Row]) -> Contact | Unavailable | None:
    try:
        return rows.contact_of(ext_user_id, own)
    except Unavailable as error:
        return error
