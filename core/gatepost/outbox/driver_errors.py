"""Database errors as the gateway's own errors. Our texts replace the driver's, which quote rows and values."""

import sqlite3

from sqlalchemy.exc import DBAPIError

from gatepost.errors import StoreBroken, StoreBusy, StoreError

# Primary result codes (https://www.sqlite.org/rescode.html) after which it is not known what is on disk.
_BROKEN_CODES = {
    sqlite3.SQLITE_IOERR: "reading or writing the file failed",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened",
    sqlite3.SQLITE_READONLY: "the file can't be written",
}
_BUSY_CODES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "another process has locked the file",
    sqlite3.SQLITE_LOCKED: "the table is locked",
}


# SQLSTATEs, or the first two letters of their class (https://www.postgresql.org/docs/current/errcodes-appendix.html)
_BROKEN_SQLSTATES = {"XX001": "the data are damaged", "XX002": "an index is damaged"}
_BUSY_SQLSTATES = {
    "25006": "the database takes no writes: it may be a standby",
    "28": "the database refuses the gateway's user or password",
    "3D": "there is no such database",
    "42501": "the user can't use or create the gateway's tables: make it the owner of the database",
    "42": "the gateway may not use its tables, or they were changed by something else",
    "53": "the database has no disk space, memory or connection left",
    "55": "another program has locked the tables",
    "58": "the database reports an error of its disk",
}
_CONNECTION_LOST_SQLSTATES = ("08", "57")


class StatementRefused(StoreBusy):
    """The store refused a statement because of its values; other statements may succeed."""


class ConnectionLost(StoreBusy):
    """The connection was lost, and it is not known whether its last transaction was committed.

    Work that a uid, a fence or a status's name makes idempotent may be repeated in either case.
    """


def store_error(error: Exception) -> StoreError:
    """Return the gateway's error for one of SQLAlchemy or the driver: StoreBroken when the process must stop, else StoreBusy."""
    cause: BaseException = error
    while not isinstance(cause, sqlite3.Error):
        inner = cause.orig if isinstance(cause, DBAPIError) else cause.__cause__
        if inner is None:
            return _postgresql_error(cause)
        cause = inner
    return sqlite_error(cause)


def opening_problem(name: str, error: DBAPIError | StoreError) -> str:
    """Return why the store could not be opened, and what to do where that is not obvious."""
    known = store_error(error) if isinstance(error, DBAPIError) else error
    advice = (
        ": check that this is the gateway's store, or restore a backup"
        if isinstance(known, StoreBroken)
        else ""
    )
    return f"{name}: {known}{advice}"


def sqlite_error(cause: sqlite3.Error) -> StoreError:
    """Return the gateway's error for an error of the SQLite driver."""
    primary = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if primary in _BROKEN_CODES:
        return StoreBroken(f"{_BROKEN_CODES[primary]} ({cause.sqlite_errorname})")
    if primary in _BUSY_CODES:
        return StoreBusy(_BUSY_CODES[primary])
    return StatementRefused(f"the store refused this statement ({type(cause).__name__})")


def _postgresql_error(cause: BaseException) -> StoreError:
    state = getattr(cause, "sqlstate", None)
    kind = type(cause).__name__
    if state is None or state.startswith(_CONNECTION_LOST_SQLSTATES):
        # An error without a state is not from the server, but from the driver about its connection.
        return ConnectionLost(f"the connection to the database was lost ({kind})")
    if state in _BROKEN_SQLSTATES:
        return StoreBroken(f"{_BROKEN_SQLSTATES[state]} ({kind})")
    busy = _BUSY_SQLSTATES.get(state) or _BUSY_SQLSTATES.get(state[:2])
    return (
        StoreBusy(f"{busy} ({kind})")
        if busy
        else StatementRefused(f"the store refused this statement ({kind})")
    )
