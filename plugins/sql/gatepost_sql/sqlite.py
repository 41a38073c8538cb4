"""SQLite, through the driver of the standard library. The file is opened to be read only."""

import re
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine

from gatepost.errors import ConfigError, Fault
from gatepost_sql.database import Failure, pool_options
from gatepost_sql.ids import TEXT, IdType
from gatepost_sql.query import Statement
from gatepost_sql.rows import Column

_SCAN = re.compile(r"SCAN (?:TABLE )?(?!CONSTANT)(\w+)")

_INSTRUCTIONS = 5_000
"""Instructions of SQLite's machine between two looks at the clock: well under a millisecond."""

# Primary result codes (https://www.sqlite.org/rescode.html)
_FAILURES = {
    # A function also fails with it that can't use what stands in a row.
    sqlite3.SQLITE_ERROR: Failure(
        "the query does not fit the database", misconfigured=True, is_query=True, is_row=True
    ),
    sqlite3.SQLITE_BUSY: Failure("another process has locked the file"),
    sqlite3.SQLITE_CANTOPEN: Failure("the file can't be opened", misconfigured=True),
    sqlite3.SQLITE_INTERRUPT: Failure("the query took too long"),
    sqlite3.SQLITE_NOTADB: Failure("the file is not a database", misconfigured=True),
    sqlite3.SQLITE_READONLY: Failure(
        "the query writes, and a lookup only reads", misconfigured=True, is_query=True
    ),
}


class SqliteDriver:
    """A file of SQLite."""

    batches = True
    mysql = False
    name_mark = "`"
    """SQLite takes a name that it does not know for a text where it stands in double quotes."""

    def __init__(self, url: URL, folder: Path, connections: int, deadline: float) -> None:
        """Take the path relative to ``folder``. Raises ConfigError."""
        if not url.database or url.database == ":memory:" or url.query:
            raise ConfigError([Fault("url", "must name a file, as in sqlite:///PATH, without options")])
        self._file = f"file:{quote(str(folder / url.database))}?mode=ro"
        self._connections = connections
        self._deadline = deadline

    def create_engine(self) -> Engine:
        """Return an engine, which has no connection yet."""
        return create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=QueuePool,
            **pool_options(self._connections, self._deadline),
            isolation_level="AUTOCOMMIT",
        )

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, uri=True, timeout=self._deadline, check_same_thread=False)

    def failure(self, error: BaseException) -> Failure | None:
        """Explain an error of the driver by its result code."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            # The driver's own, such as a wrong number of values, or a text that is not UTF-8.
            return Failure("the query can't be run", misconfigured=True, is_query=True, is_row=True)
        name = getattr(error, "sqlite_errorname", "")
        return _FAILURES.get(code & 0xFF, Failure("the database reports an error"))._replace(code=name)

    def column(self, name: str, _type_code: Any) -> Column:
        """Return a column; SQLite has no types of columns."""
        return Column(name)

    def id_type(self, _type_code: Any) -> IdType:
        """Return a text: a column of integers takes 42 and 0042 for equal."""
        return TEXT

    def begin(self, connection: Connection) -> None:
        """Let the next query end when its time is over."""
        driver_connection: Any = connection.connection.dbapi_connection
        end = time.monotonic() + self._deadline
        driver_connection.set_progress_handler(lambda: time.monotonic() > end, _INSTRUCTIONS)

    def review(self, connection: Connection, statement: Statement) -> Sequence[str]:
        """Return a warning for each table that is read as a whole."""
        values: Any = statement.values
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.sql}", values)
        tables = dict.fromkeys(found[1] for row in plan if (found := _SCAN.match(str(row[3]))))
        return [
            f"reads the whole of {table} for each lookup: create an index for what it compares"
            for table in tables
        ]
