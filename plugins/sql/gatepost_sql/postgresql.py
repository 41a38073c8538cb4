"""PostgreSQL, through asyncpg."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from gatepost.errors import ConfigError, Fault, Unavailable
from gatepost.model import Secret
from gatepost_sql import postgresql_plan
from gatepost_sql.database import Failure
from gatepost_sql.ids import POSTGRESQL, TEXT, IdType
from gatepost_sql.postgresql_connector import Connector
from gatepost_sql.postgresql_hosts import Hosts
from gatepost_sql.query import Query, bind, limited
from gatepost_sql.rows import MAX_ROWS, Column, Inspection, Row, column_names

_TEXTS = frozenset(name for name, id_type in POSTGRESQL.items() if id_type is TEXT)
_NOT_TEXT = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8", "bool", "bytea", "money"})

# SQLSTATEs, or the first letters of their class (https://www.postgresql.org/docs/current/errcodes-appendix.html)
_FAILURES: Mapping[str, Failure] = {
    "08": Failure("the connection to the database was lost", is_connection=True),
    "0A000": Failure("the database can't run such a query", misconfigured=True, is_query=True),
    **dict.fromkeys(
        ("22021", "22P05"),
        Failure("the database can't store or convert a text", misconfigured=True, is_unknown_text=True),
    ),
    "25006": Failure("the query writes, and a lookup only reads", misconfigured=True, is_query=True),
    "28": Failure("the database refuses the user or the password", misconfigured=True),
    "3D": Failure("there is no such database", misconfigured=True),
    "42501": Failure("the user may not read what the query reads", misconfigured=True, is_query=True),
    "42": Failure("the query does not fit the database", misconfigured=True, is_query=True),
    "53": Failure("the database has no connection or memory left"),
    "57014": Failure("the query took too long"),
    "57": Failure("the connection to the database was lost", is_connection=True),
}

_AGE = """
SELECT pg_is_in_recovery() AS standby, CASE
    WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END AS age
"""


class _Parsed(Exception):
    """The driver has parsed the URL, and is about to connect."""


class PostgresDatabase:
    """A pool of connections to one server, or to the first of several that answers."""

    batches = True
    mysql = False
    name_mark = '"'

    def __init__(self, url: Secret, connections: int, deadline: float) -> None:
        """``url`` is in libpq's syntax; ``deadline`` is in seconds. Raises ConfigError."""
        self._driver = _import_driver()
        self._url = url
        self._connections = connections
        self._deadline = deadline
        self._pool: Any = None
        self._connector: Connector | None = None
        self._padded: frozenset[str] = frozenset()
        self._id_type = ""

    async def open(self) -> None:
        """Prepare the pool; connects to nothing."""
        settings = {
            "application_name": "gatepost",
            "default_transaction_read_only": "on",
            "statement_timeout": str(int(self._deadline * 1000)),
        }
        try:
            await self._parse_url()
            hosts = Hosts(self._driver, self._url.reveal())
            self._connector = Connector(hosts, self._connections, self._deadline)
            self._pool = await self._driver.create_pool(
                self._url.reveal(),
                min_size=0,
                max_size=self._connections,
                # It must end before the lookup does: then the failure is known, and the next lookup waits.
                timeout=self._deadline * 0.9,
                server_settings=settings,
                connect=self._connector.connect,
                reset=_keep_session,
            )
        except (ValueError, OSError, self._driver.PostgresError, self._driver.InterfaceError):
            # Outside of this block: the error may quote the password.
            pass
        else:
            return
        raise ConfigError([Fault("url", "can't be used: check its options, and the files that it names")])

    async def _parse_url(self) -> None:
        """Let the driver parse the URL and read its files; raises the driver's error. Connects to nothing."""

        def stop() -> str:
            raise _Parsed

        # The driver asks for the password before it connects, and after everything that may be wrong with the URL.
        with suppress(_Parsed):
            await self._driver.connect(self._url.reveal(), password=stop)

    async def close(self) -> None:
        """Close every connection at once: none has anything to lose."""
        if self._pool is not None:
            self._pool.terminate()
        if self._connector is not None:
            await self._connector.close()

    def failure(self, error: BaseException) -> Failure | None:
        """Explain an error of the driver or of a connection."""
        state = getattr(error, "sqlstate", None)
        if isinstance(error, self._driver.PostgresError) and state:
            known = next((_FAILURES[part] for part in (state, state[:2]) if part in _FAILURES), None)
            return (known or Failure("the database reports an error", is_row=True))._replace(code=state)
        if isinstance(error, ssl.SSLCertVerificationError):
            return Failure("the database's certificate can't be verified", misconfigured=True)
        if isinstance(error, self._driver.InternalClientError | self._driver.InterfaceError | OSError):
            return Failure(
                f"the database can't be reached ({type(error).__name__})",
                is_connection=not isinstance(error, TimeoutError),
            )
        return None

    async def inspect(self, query: Query) -> Inspection:
        """Ask the server about the parameter and the columns of the query that finds a contact."""
        attributes, (parameter,) = await self._on_connection(partial(_describe, query))
        names = column_names([one.name for one in attributes])
        types = [one.type for one in attributes]
        self._padded = frozenset(
            name for name, kind in zip(names, types, strict=True) if kind.name == "bpchar"
        )
        if parameter.name not in POSTGRESQL:
            raise ConfigError(
                [
                    Fault(
                        query.key,
                        f"compares :ext_user_id with the type {parameter.name}; write CAST(:ext_user_id AS text) and "
                        "compare it with a text",
                    )
                ]
            )
        if self._id_type not in {"", parameter.name}:
            # Each connection has statements of the type before.
            await self._pool.expire_connections()
        self._id_type = parameter.name
        columns = [Column(name, kind.name not in _NOT_TEXT) for name, kind in zip(names, types, strict=True)]
        return Inspection(POSTGRESQL[parameter.name]._replace(name=parameter.name), columns)

    async def columns(self, query: Query) -> Sequence[str]:
        """Ask the server about the names of the columns of any other query."""
        attributes, parameters = await self._on_connection(partial(_describe, query))
        for name, parameter in zip(query.parameters, parameters, strict=True):
            if parameter.name not in _TEXTS:
                problem = (
                    f"compares :{name} with the type {parameter.name}; make what it is compared with a text"
                )
                raise ConfigError([Fault(query.key, problem)])
        return column_names([one.name for one in attributes])

    async def find(
        self, query: Query, id_type: IdType, values: Mapping[str, object]
    ) -> Mapping[str, Sequence[Row]]:
        """Return the rows of users by ext_user_id."""
        users = list(values)
        if len(users) == 1:
            return {users[0]: await self._fetch(limited(_sql(query), MAX_ROWS), [values[users[0]]])}
        # One query, which looks each user up as the single query does. A name that the operator's query has too would
        # capture the parameter.
        sql = (
            "SELECT gatepost_wanted.gatepost_position - 1 AS gatepost_position, found.* "  # noqa: S608  the operator's own query
            f"FROM unnest($1::{id_type.name}[]) WITH ORDINALITY AS gatepost_wanted (gatepost_id, gatepost_position), "
            f"LATERAL ({limited(query.text(lambda _: 'gatepost_wanted.gatepost_id'), MAX_ROWS)}) AS found"
        )
        rows: dict[str, list[Row]] = {user: [] for user in users}
        for row in await self._fetch(sql, [list(values.values())]):
            rows[users[row.pop("gatepost_position")]].append(row)
        return rows

    async def fetch(self, query: Query, values: Mapping[str, object], limit: int) -> Sequence[Row]:
        """Return up to ``limit`` rows of a query."""
        statement = bind(query, "numeric_dollar", values)
        return await self._fetch(limited(statement.sql, limit), statement.values)

    async def _fetch(self, sql: str, values: Any) -> list[dict[str, Any]]:
        """Run a query; once more where an idle connection turns out to be dead."""
        try:
            return await self._run(sql, values)
        except Exception as error:
            failure = self.failure(error)
            if failure is None or not failure.is_connection:
                raise
        await self._pool.expire_connections()
        return await self._run(sql, values)

    async def _run(self, sql: str, values: Any) -> list[dict[str, Any]]:
        records = await self._on_connection(lambda connection: connection.fetch(sql, *values))
        if not records:
            return []
        names = column_names(list(records[0].keys()))
        rows = [dict(zip(names, record.values(), strict=True)) for record in records]
        for row in rows if self._padded else ():
            # A char(n) ends with blanks that are no part of its value.
            row.update(
                {name: row[name].rstrip(" ") for name in self._padded if isinstance(row.get(name), str)}
            )
        return rows

    async def _on_connection(self, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        async with self._pool.acquire() as connection:
            return await _terminated_when_cancelled(connection, work(connection))

    async def review(self, query: Query, sample: Mapping[str, object]) -> Sequence[str]:
        """Return what an operator should know about the plan of a query and about the user's rights."""
        statement = bind(query, "numeric_dollar", sample)
        reviewed: Sequence[str] = await self._on_connection(
            lambda connection: postgresql_plan.review(connection, statement)
        )
        return reviewed

    async def data_age(self) -> float | None:
        """Return how many seconds a standby is behind; None on a server that is none.

        Raises Unavailable for a standby that does not know it: what it knew before becomes older meanwhile.
        """
        (row,) = await self._fetch(_AGE, ())
        if not row["standby"]:
            return None
        if row["age"] is None:
            raise Unavailable("the standby does not know how far it is behind")
        return max(0.0, float(row["age"]))


def _sql(query: Query) -> str:
    return query.text(lambda name: f"${query.parameters.index(name) + 1}")


async def _describe(query: Query, connection: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the columns and the parameters of a query."""
    # In a transaction: without its end, a statement that was only prepared would go on holding locks.
    async with connection.transaction(readonly=True):
        statement = await connection.prepare(_sql(query))
        return statement.get_attributes(), statement.get_parameters()


async def _terminated_when_cancelled(connection: Any, work: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of work on a connection; when this is cancelled, close the connection at once.

    The server ends the query after ``statement_timeout``, the time that a lookup has. A connection for its cancellation could
    hang as the first one does.
    """
    task = asyncio.create_task(work)
    # So that its error is no complaint of asyncio's, also where this is cancelled once more.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        connection.terminate()
        await asyncio.wait({task})
        raise


async def _keep_session(_connection: Any) -> None:
    """Leave a connection as it is: a lookup changes nothing in its session, and a reset would be another round trip."""


def _import_driver() -> Any:
    try:
        import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  an optional dependency
    except ImportError:
        raise ConfigError(
            [Fault("url", "PostgreSQL needs the driver asyncpg: pip install 'gatepost-sql[postgres]'")]
        ) from None
    return asyncpg
