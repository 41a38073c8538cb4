"""Databases with a blocking driver: SQLAlchemy's pool, and a thread for each connection."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gatepost_sql.database import Failure
from gatepost_sql.ids import IdType
from gatepost_sql.query import Query, Statement, bind, limited
from gatepost_sql.reconnect import Reconnection
from gatepost_sql.rows import MAX_ROWS, Column, Inspection, Row, column_names

T = TypeVar("T")


class Driver(Protocol):
    """What differs between databases with a blocking driver."""

    batches: bool
    mysql: bool
    name_mark: str

    def create_engine(self) -> Engine:
        """Return an engine, which has no connection yet."""
        ...

    def failure(self, error: BaseException) -> Failure | None:
        """Explain an error of the driver itself; None for one that it does not know."""
        ...

    def column(self, name: str, type_code: Any) -> Column:
        """Return a column of a result by its name and its PEP 249 type code."""
        ...

    def id_type(self, type_code: Any) -> IdType:
        """Return the type of ids, by the type code of the returned ext_user_id; None where it is not returned."""
        ...

    def begin(self, connection: Connection) -> None:
        """Prepare a connection for one query."""
        ...

    def review(self, connection: Connection, statement: Statement) -> Sequence[str]:
        """Return what an operator should know about the plan of a query and about the user's rights."""
        ...


class ThreadedDatabase:
    """A pool of connections to one database, each used by one thread at a time."""

    def __init__(self, driver: Driver, connections: int, deadline: float) -> None:
        """``deadline`` is in seconds. Raises ConfigError."""
        self._driver = driver
        self._connections = connections
        self._reconnection = Reconnection(deadline)
        self._threads: ThreadPoolExecutor | None = None
        self._engine = driver.create_engine()
        self._paramstyle = self._engine.dialect.paramstyle
        self.batches = driver.batches
        self.mysql = driver.mysql
        self.name_mark = driver.name_mark
        event.listen(self._engine, "do_connect", self._connect)

    async def open(self) -> None:
        """Create the threads: own ones, so that a slow database delays nothing else."""
        self._threads = ThreadPoolExecutor(self._connections, thread_name_prefix="gatepost-sql")

    async def close(self) -> None:
        """Close every idle connection. A query that runs is ended by its own timeout."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._engine.dispose)

    def _connect(self, dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        self._reconnection.begin()
        try:
            connection = dialect.connect(*arguments, **options)
        except Exception:
            self._reconnection.note_failure()
            raise
        self._reconnection.note_success()
        return connection

    def failure(self, error: BaseException) -> Failure | None:
        """Explain an error of SQLAlchemy, of the driver or of a connection."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, self._engine.dialect.loaded_dbapi.Error):
            known = self._driver.failure(cause)
            return known or Failure(f"the database reports an error ({type(cause).__name__})")
        if isinstance(error, SQLAlchemyError | OSError):
            return Failure(f"the database can't be reached ({type(error).__name__})")
        return None

    async def inspect(self, query: Query) -> Inspection:
        """Run the query for nobody, and look at the columns of its result."""
        described = await self._description(query)
        columns = [self._driver.column(name, type_code) for name, type_code in described]
        return Inspection(self._driver.id_type(dict(described).get("ext_user_id")), columns)

    async def columns(self, query: Query) -> Sequence[str]:
        """Run any other query for nobody, and return the names of its columns."""
        return [name for name, _ in await self._description(query)]

    async def _description(self, query: Query) -> Sequence[tuple[str, Any]]:
        """Return the columns of the result for nobody: names and PEP 249 type codes."""
        statement = bind(query, self._paramstyle, dict.fromkeys(query.parameters))
        if self.batches:
            statement = statement._replace(sql=limited(statement.sql, 1))

        def describe(connection: Connection) -> Sequence[tuple[str, Any]]:
            with _execute(connection, statement) as result:
                described = result.cursor.description
            names = column_names([one[0] for one in described])
            return list(zip(names, (one[1] for one in described), strict=True))

        return await self._in_thread(describe)

    async def find(
        self,
        query: Query,
        id_type: IdType,  # noqa: ARG002  these databases know the type without it
        values: Mapping[str, object],
    ) -> Mapping[str, Sequence[Row]]:
        """Return the rows of users by ext_user_id."""
        users = list(values)
        if len(users) == 1:
            return {users[0]: await self.fetch(query, {"ext_user_id": values[users[0]]}, MAX_ROWS)}
        statements = [bind(query, self._paramstyle, {"ext_user_id": value}) for value in values.values()]
        sql = "\nUNION ALL\n".join(
            f"SELECT {position} AS gatepost_position, one.* FROM ({limited(each.sql, MAX_ROWS)}) AS one"  # noqa: S608
            for position, each in enumerate(statements)
        )
        combined = Statement(sql, tuple(value for each in statements for value in each.values))
        rows: dict[str, list[Row]] = {user: [] for user in users}
        for row in await self._fetch(combined, MAX_ROWS * len(users)):
            rows[users[row.pop("gatepost_position")]].append(row)
        return rows

    async def fetch(self, query: Query, values: Mapping[str, object], limit: int) -> Sequence[Row]:
        """Return up to ``limit`` rows of a query."""
        statement = bind(query, self._paramstyle, values)
        if self.batches:
            statement = statement._replace(sql=limited(statement.sql, limit))
        return await self._fetch(statement, limit)

    async def _fetch(self, statement: Statement, limit: int) -> list[dict[str, Any]]:
        def fetch(connection: Connection) -> list[dict[str, Any]]:
            with _execute(connection, statement) as result:
                names = column_names(list(result.keys()))
                return [dict(zip(names, row, strict=True)) for row in result.fetchmany(limit)]

        return await self._in_thread(fetch)

    async def review(self, query: Query, sample: Mapping[str, object]) -> Sequence[str]:
        """Return what an operator should know about the plan of a query and about the user's rights."""
        statement = bind(query, self._paramstyle, sample)
        return await self._in_thread(lambda connection: self._driver.review(connection, statement))

    async def data_age(self) -> float | None:
        """Return None: these databases do not tell an ordinary user whether they are replicas."""
        return None

    async def _in_thread(self, work: Callable[[Connection], T]) -> T:
        assert self._threads is not None
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        """Do work on a connection; once more where an idle connection turns out to be dead."""

        def on_connection() -> T:
            with self._engine.connect() as connection:
                self._driver.begin(connection)
                return work(connection)

        try:
            return on_connection()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return on_connection()


def _execute(connection: Connection, statement: Statement) -> Any:
    values: Any = statement.values
    # In a stream, as the query of a database without LIMIT may return a million rows.
    return connection.exec_driver_sql(statement.sql, values, execution_options={"stream_results": True})
