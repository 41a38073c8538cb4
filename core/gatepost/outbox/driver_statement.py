"""Statements as the driver gets them: compiled once, and run without SQLAlchemy's execution.

SQLAlchemy looks a statement up, binds each parameter by its name and describes the columns of the result, at each execution.
That took four times as long as SQLite needs for a claim that finds nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from gatepost.outbox.driver_errors import store_error

Bind = Callable[[Mapping[str, Any]], tuple[Any, ...]]
"""A function from the parameters by name to those of the driver."""

_STALE_SQLSTATES = ("0A000", "XX000")
"""Errors of a statement that a connection prepared before something else changed a table: it fails there for ever."""


class DriverStatement:
    """A statement in one dialect."""

    __slots__ = ("bind", "parameter_count", "text")

    def __init__(self, statement: Executable, dialect: Dialect, columns: Sequence[str] | None) -> None:
        """``columns`` are those that an insert has values for; None: all columns of its table."""
        compiled = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        names = compiled.positiontup or ()
        self.text = compiled.string
        self.parameter_count = len(names)
        self.bind = _bind(names, compiled, dialect)
        """Returns the parameters in their order; one that is not given has the value in the statement, if any.

        Raises KeyError for one that has none.
        """


def _bind(names: Sequence[str], compiled: SQLCompiler, dialect: Dialect) -> Bind:
    defaults = {name: compiled.params[name] for name in names if not compiled.binds[name].required}
    processors = {
        name: process
        for name in names
        if (process := compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)) is not None
    }
    # A getter of one value would return it without a tuple around it.
    get = itemgetter(*names) if len(names) > 1 else lambda values: tuple(values[name] for name in names)

    def bind(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        values = {**defaults, **parameters}
        for name, process in processors.items():
            values[name] = process(values[name])
        return get(values)

    return bind


@cache
def driver_statement(
    statement: Executable, dialect: Dialect, columns: tuple[str, ...] | None = None
) -> DriverStatement:
    """Return a statement for the driver; it is compiled once for each dialect and choice of columns."""
    return DriverStatement(statement, dialect, columns)


class Answer(NamedTuple):
    """What the driver answered to a statement."""

    row_count: int
    """How many rows it changed; for several sequences of parameters known on SQLite alone."""
    columns: tuple[str, ...]
    rows: Sequence[Any]


def run(connection: Connection, text: str, parameters: Sequence[Any]) -> Answer:
    """Run the statement in the connection's transaction. Raises StoreError."""
    return _run(connection, connection.dialect.do_execute, text, parameters)


def run_many(connection: Connection, text: str, parameters: Sequence[Sequence[Any]]) -> Answer:
    """Run the statement once for each sequence of parameters. Raises StoreError."""
    return _run(connection, connection.dialect.do_executemany, text, parameters)


def _run(connection: Connection, execute: Callable[..., None], text: str, parameters: Any) -> Answer:
    cursor = connection.connection.cursor()
    try:
        execute(cursor, text, parameters)
        described = cursor.description
        if not described:
            return Answer(cursor.rowcount, (), ())
        # Here, because SQLite reads all rows but the first one only now, and may find damage. All rows at once: each
        # separate fetch releases the interpreter to other threads.
        rows = cursor.fetchall()
        return Answer(cursor.rowcount, tuple([column[0] for column in described]), rows)
    except BaseException as error:  # noqa: BLE001  raises it again
        _raise(connection, cursor, error)


def _raise(connection: Connection, cursor: DBAPICursor, error: BaseException) -> NoReturn:
    """Raise the gateway's error for one of the driver, and any other as it is.

    What becomes of the connection is SQLAlchemy's decision: one that was lost is discarded, together with all that were
    opened before it, and one whose statement was broken off is discarded alone.
    """
    if getattr(error.__cause__, "sqlstate", None) in _STALE_SQLSTATES:
        connection.invalidate(error)
    try:
        connection._handle_dbapi_exception(error, None, None, cursor, None)  # noqa: SLF001  there is no public way
    except DBAPIError as known:
        raise store_error(known) from None
