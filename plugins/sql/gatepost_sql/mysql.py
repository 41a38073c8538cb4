"""MySQL and MariaDB, through PyMySQL."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from gatepost.errors import ConfigError, Fault
from gatepost_sql.database import Failure, pool_options
from gatepost_sql.ids import MYSQL_INTEGER, TEXT, IdType
from gatepost_sql.query import Statement
from gatepost_sql.rows import Column

_SOCKET_MARGIN = 0.5
"""Seconds that a socket waits longer than the server's own limit, whose error says more."""

# The protocol's types of columns.
_INTEGERS = frozenset({1, 2, 3, 8, 9})
_NUMBERS = _INTEGERS | {0, 4, 5, 246}

_RIGHTS = re.compile(r"\b(?:INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|ALL PRIVILEGES)\b")

_REFUSED = Failure("the database refuses the user or the password", misconfigured=True)
_UNFIT = Failure("the query does not fit the database", misconfigured=True, is_query=True)
_LOST = Failure("the connection to the database was lost", is_connection=True)
_SLOW = Failure("the query took too long")
_FULL = Failure("the database has no connection or memory left")

# https://mariadb.com/kb/en/mariadb-error-codes/; those of MySQL have the same numbers up to 1,900.
_FAILURES: Mapping[int, Failure] = {
    **dict.fromkeys((1044, 1045, 1130, 1251, 1698, 1820, 1862, 2059, 2061, 3118, 4151), _REFUSED),
    1049: Failure("there is no such database", misconfigured=True),
    **dict.fromkeys((1052, 1054, 1060, 1064, 1146, 1305, 1222), _UNFIT),
    **dict.fromkeys(
        (1142, 1143),
        Failure("the user may not read what the query reads", misconfigured=True, is_query=True),
    ),
    1792: Failure("the query writes, and a lookup only reads", misconfigured=True, is_query=True),
    **dict.fromkeys(
        (1267, 1270, 1271, 1300, 3854, 3988),
        Failure("the database can't store or convert a text", misconfigured=True, is_unknown_text=True),
    ),
    **dict.fromkeys((1969, 3024, 1317, 1205), _SLOW),
    **dict.fromkeys((2002, 2003, 2005), Failure("the database can't be reached")),
    **dict.fromkeys((1053, 1927, 2006, 2013, 2014, 2055), _LOST),
    **dict.fromkeys((1021, 1037, 1038, 1040, 1041, 1203, 1226), _FULL),
}


class MysqlDriver:
    """A server of MySQL or MariaDB."""

    batches = True
    mysql = True
    name_mark = "`"

    def __init__(self, url: URL, connections: int, deadline: float) -> None:
        """``deadline`` is in seconds."""
        self._url = url.set(drivername=f"{url.get_backend_name()}+pymysql")
        self._connections = connections
        self._deadline = deadline

    def create_engine(self) -> Engine:
        """Return an engine, which has no connection yet; raises ConfigError when the driver is not installed."""
        options = {
            "charset": "utf8mb4",
            "connect_timeout": self._deadline,
            "read_timeout": self._deadline + _SOCKET_MARGIN,
            "write_timeout": self._deadline + _SOCKET_MARGIN,
        }
        try:
            engine = create_engine(
                self._url,
                **pool_options(self._connections, self._deadline),
                pool_recycle=300,
                isolation_level="AUTOCOMMIT",
                connect_args=options,
            )
            _parse_options(engine, self._url, options)
        except ImportError:
            problem = "MySQL and MariaDB need the driver PyMySQL: pip install 'gatepost-sql[mysql]'"
        except (TypeError, ValueError, AttributeError, OSError):
            problem = "can't be used: check its options, and the files that it names"
        else:
            event.listen(engine, "connect", self._prepare)
            return engine
        # Outside of this block: the error may quote the password.
        raise ConfigError([Fault("url", problem)])

    def _prepare(self, connection: Any, _record: Any) -> None:
        """Let the server end slow queries and refuse those that write."""
        limit = (
            f"max_statement_time = {self._deadline:.3f}"
            if "MariaDB" in connection.get_server_info()
            else f"max_execution_time = {int(self._deadline * 1000)}"
        )
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {limit}")
            cursor.execute("SET SESSION TRANSACTION READ ONLY")

    def failure(self, error: BaseException) -> Failure | None:
        """Explain an error of the driver by its number."""
        code = error.args[0] if error.args else None
        if not isinstance(code, int):
            return None
        known = _FAILURES.get(code, Failure("the database reports an error", is_row=True))
        return known._replace(code=str(code))

    def column(self, name: str, type_code: Any) -> Column:
        """Return a column by the protocol's type of it."""
        return Column(name, type_code not in _NUMBERS)

    def id_type(self, type_code: Any) -> IdType:
        """Return the type of ids; a text that is no integer would be compared with a column of integers row by row."""
        return MYSQL_INTEGER if type_code in _INTEGERS else TEXT

    def begin(self, connection: Connection) -> None:
        """Do nothing: the server limits the time of each query."""

    def review(self, connection: Connection, statement: Statement) -> Sequence[str]:
        """Return a warning for each table that is read as a whole, and one for a user who may write."""
        values: Any = statement.values
        plan = connection.exec_driver_sql(f"EXPLAIN {statement.sql}", values).mappings()
        warnings = [
            f"reads the whole of {row['table']} for each lookup: create an index for what it compares, and "
            "compare the column itself, without a cast or a function"
            for row in plan
            if row["type"] in {"ALL", "index"} and not str(row["table"]).startswith("<")
        ]
        grants = connection.exec_driver_sql("SHOW GRANTS").scalars()
        if any(_RIGHTS.search(str(grant).partition(" ON ")[0]) for grant in grants):
            warnings.append("the user may write: give this plugin a user that can only read")
        return list(dict.fromkeys(warnings))


def _parse_options(engine: Engine, url: URL, options: Mapping[str, Any]) -> None:
    """Let the driver parse the options of a URL and read its files, without connecting; raises the driver's error."""
    arguments, own = engine.dialect.create_connect_args(url)
    engine.dialect.loaded_dbapi.connect(*arguments, **{**own, **options}, defer_connect=True)
