"""Lookups in a database within a time, with every error as Unavailable or ConfigError."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from gatepost.errors import ConfigError, Fault, Unavailable
from gatepost.model import Contact
from gatepost_sql import rows
from gatepost_sql.database import Database, Failure
from gatepost_sql.ids import IdType
from gatepost_sql.query import Query
from gatepost_sql.reconnect import Resting

T = TypeVar("T")

_MAX_ID_LENGTH = 512


TYPE_INTERVAL = 60.0
"""Seconds after which the type of ids may be looked at again."""

_MAX_SINGLE_QUERIES = 8
"""Queries at a time for the users of a batch that failed."""


class _UserFailure(Unavailable):
    """The id or the row of one user may be the cause."""


class _UnknownText(_UserFailure):
    """A text in the query, in the id or in a row has characters that the database can't store or convert."""


class Lookups:
    """The lookups of one query that finds a contact, each within the deadline."""

    def __init__(self, database: Database, query: Query, deadline: float) -> None:
        """``deadline`` is in seconds."""
        self._database = database
        self._query = query
        self._deadline = deadline
        self._inspection: rows.Inspection | None = None
        self._inspected_at = 0.0

    async def contacts(self, ext_user_ids: Sequence[str]) -> Mapping[str, Contact | Unavailable]:
        """Return the contacts of users; Unavailable in the place of one that can't be used. Raises Unavailable."""
        end = asyncio.get_running_loop().time() + self._deadline
        id_type = (await self._inspected_in_time(end)).id_type
        if any(id_type.value(one) is None for one in ext_user_ids) and self._is_type_old():
            # The column may have got a wider type since.
            self._inspection = None
            id_type = (await self._inspected_in_time(end)).id_type
        values = {one: value for one in ext_user_ids if (value := id_type.value(one)) is not None}
        found = await self._rows(id_type, values, end) if values else {}
        contacts = {one: _contact_or_error(one, own) for one, own in found.items()}
        return {one: contact for one, contact in contacts.items() if contact is not None}

    async def users(self, query: Query, values: Mapping[str, object], limit: int) -> Sequence[str]:
        """Return the ids that another query returns. Raises Unavailable."""
        found = await self.in_time(lambda: self._database.fetch(query, values, limit))
        ids = [rows.returned_id(row) for row in found]
        return list(dict.fromkeys(one for one in ids if one and len(one) <= _MAX_ID_LENGTH))

    async def look_nobody_up(self) -> None:
        """Run the query with a value that is probably of no user. Raises Unavailable."""
        id_type = (await self._inspected_in_time()).id_type
        await self.in_time(lambda: self._database.find(self._query, id_type, {"": id_type.sample}))

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

    async def _rows(
        self, id_type: IdType, values: Mapping[str, object], end: float
    ) -> Mapping[str, Sequence[rows.Row] | Unavailable]:
        """Return the rows of users by ext_user_id, or why a user has none; leaves out those whose id can't be stored."""
        try:
            return await self.in_time(lambda: self._database.find(self._query, id_type, values), end=end)
        except _UserFailure as error:
            if len(values) == 1:
                (ext_user_id,) = values
                # Every character set has ASCII: then it is not the id that the database can't store.
                if isinstance(error, _UnknownText) and not ext_user_id.isascii():
                    return {}
                raise
            failure = error
        return await self._rows_one_by_one(id_type, values, end, failure)

    async def _rows_one_by_one(
        self, id_type: IdType, values: Mapping[str, object], end: float, failure: Unavailable
    ) -> Mapping[str, Sequence[rows.Row] | Unavailable]:
        """Return what a query of its own says about each user of a batch; raises its failure where no query succeeds."""
        turn = asyncio.Semaphore(_MAX_SINGLE_QUERIES)

        async def find(one: str) -> Mapping[str, Sequence[rows.Row] | Unavailable]:
            async with turn:
                try:
                    return await self._rows(id_type, {one: values[one]}, end)
                except Unavailable as error:
                    return {one: error}

        found = await asyncio.gather(*map(find, values))
        if all(isinstance(own, Unavailable) for each in found for own in each.values()) and all(found):
            raise failure
        return {one: own for each in found for one, own in each.items()}

    def _is_type_old(self) -> bool:
        return time.monotonic() - self._inspected_at >= TYPE_INTERVAL

    async def _inspected_in_time(self, end: float | None = None) -> rows.Inspection:
        """Return what the database says about the query; raises Unavailable also where the query can't be used."""
        if self._inspection is not None:
            return self._inspection
        return await self.in_time(self._inspected, end=end)

    async def _inspected(self) -> rows.Inspection:
        """Ask the database about the query, once. Raises ConfigError for a query that can't be used."""
        if self._inspection is None:
            inspection = await self._database.inspect(self._query)
            if problem := rows.inspection_problem(inspection):
                raise ConfigError([Fault(self._query.key, problem)])
            self._inspection, self._inspected_at = inspection, time.monotonic()
        return self._inspection

    async def in_time(
        self, call: Callable[[], Awaitable[T]], key: str = "", *, end: float | None = None
    ) -> T:
        """Return the result of a call to the database; raises Unavailable where it fails or takes too long.

        With the ``key`` of a setting, raises ConfigError where the query or the URL is wrong. ``end`` is the loop's time
        at which the lookup must have ended.
        """
        if end is None:
            end = asyncio.get_running_loop().time() + self._deadline
        try:
            async with asyncio.timeout_at(end):
                return await call()
        except Unavailable:
            raise
        except ConfigError as error:
            if key:
                raise
            fault = error.faults[0]
            failure = Failure(f"{fault.key}: {fault.problem}", misconfigured=True)
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
        if failure.is_query and key:
            raise ConfigError([Fault(key, f"{failure.reason} ({failure.code})")])
        raise _kind(failure)(failure.reason, code=failure.code, misconfigured=failure.misconfigured)


def _kind(failure: Failure) -> type[Unavailable]:
    if failure.is_unknown_text:
        return _UnknownText
    return _UserFailure if failure.is_row else Unavailable


def _contact_or_error(
    ext_user_id: str, own: Sequence[rows.Row] | Unavailable
) -> Contact | Unavailable | None:
    if isinstance(own, Unavailable):
        return own
    try:
        return rows.contact_of(ext_user_id, own)
    except Unavailable as error:
        return error
