"""Statements as the driver gets them: compiled once, and run without SQLAlchemy's execution.

SQLAlchemy looks a statement up, binds each parameter by its name and describes the columns of the result, at each execution.
That took four times as long as SQLite needs for a claim that finds nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler

from gatepost.outbox.driver_errors import store_error

Bind = Callable[[Mapping[str, Any]], tuple[Any, ...]]
"""A function from the parameters by name to those of the driver."""


class DriverStatement:
    """A statement in one dialect."""

    __slots__ = ("bind", "parameter_count", "text")

    def __init__(self, statement: Executable, dialect: Dialect, columns: Sequence[str] | None) -> None:
        """``columns`` are those that an insert gets, of all columns of its table if None."""
        compiled = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        names = compiled.positiontup or ()
        self.text = compiled.string
        self.parameter_count = len(names)
        self.bind = _bind(names, compiled, dialect)
        """Returns the parameters in their order; one that is not given has the value in the statement."""


def _bind(names: Sequence[str], compiled: SQLCompiler, dialect: Dialect) -> Bind:
    defaults = {name: compiled.params[name] for name in names}
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


def run(connection: Connection, text: str, parameters: Sequence[Any]) -> DBAPICursor:
    """Run the statement in the connection's transaction, and return the cursor with its rows. Raises StoreError."""
    return _run(connection, connection.dialect.do_execute, text, parameters)


def run_many(connection: Connection, text: str, parameters: Sequence[Sequence[Any]]) -> int:
    """Run the statement once for each sequence of parameters; return how many rows it changed, which is known on SQLite alone.

    Raises StoreError.
    """
    return _run(connection, connection.dialect.do_executemany, text, parameters).rowcount


def _run(connection: Connection, execute: Callable[..., None], text: str, parameters: Any) -> DBAPICursor:
    driver_connection = connection.connection
    cursor = driver_connection.cursor()
    dialect = connection.dialect
    try:
        execute(cursor, text, parameters)
    except dialect.loaded_dbapi.Error as error:
        if dialect.is_disconnect(error, driver_connection, cursor):
            # So that the pool does not give it to the next transaction.
            connection.invalidate(error)
        raise store_error(error) from None
    return cursor
