"""What a database's error means for the gateway. Texts are ours: the driver's quote rows and values."""

import sqlite3

from sqlalchemy.exc import DBAPIError

from gatepost.errors import StoreBroken, StoreBusy, StoreError

# Primary result codes (https://www.sqlite.org/rescode.html) after which nobody knows what is on disk.
_BROKEN = {
    sqlite3.SQLITE_IOERR: "reading or writing the file failed",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened",
    sqlite3.SQLITE_READONLY: "the file can't be written",
}
_BUSY = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "another process has locked the file",
    sqlite3.SQLITE_LOCKED: "the table is locked",
}


# SQLSTATEs, or the first two letters of their class (https://www.postgresql.org/docs/current/errcodes-appendix.html)
_BROKEN_SQLSTATES = {"XX001": "the data are damaged", "XX002": "an index is damaged"}
_BUSY_SQLSTATES = {
    "25006": "the database takes no writes: it may be a standby",
    "28": "the database does not let the gateway in",
    "3D": "there is no such database",
    "42501": "the user can't use or make the gateway's tables: let it own the database",
    "42": "the gateway may not use its tables, or they are not as it made them",
    "53": "the database is out of room, memory or connections",
    "55": "something else has locked the tables",
    "58": "the database met an error of its disk",
}
_LOST_SQLSTATES = ("08", "57")


class Refusal(StoreBusy):
    """The store took offence at what it was given; something else may succeed."""


class Lost(StoreBusy):
    """The connection is gone, and whether its last transaction was committed nobody knows.

    To do the same once more is right in either case, where a uid, a fence or a status's name settles it.
    """


def store_error(error: DBAPIError) -> StoreError:
    """The same as one of ours: StoreBroken when the process must stop, else StoreBusy."""
    cause: BaseException = error
    while (inner := cause.orig if isinstance(cause, DBAPIError) else cause.__cause__) is not None:
        cause = inner
        if isinstance(cause, sqlite3.Error):
            return of_sqlite(cause)
    return _of_postgresql(cause)


def opening_problem(name: str, error: DBAPIError) -> str:
    """Why a store could not be opened, and what to do where that is not plain."""
    found = store_error(error)
    todo = ": see that it is the gateway's, or put back a backup" if isinstance(found, StoreBroken) else ""
    return f"{name}: {found}{todo}"


def of_sqlite(cause: sqlite3.Error) -> StoreError:
    """The same for an error of the driver's own."""
    primary = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if primary in _BROKEN:
        return StoreBroken(f"{_BROKEN[primary]} ({cause.sqlite_errorname})")
    if primary in _BUSY:
        return StoreBusy(_BUSY[primary])
    return Refusal(f"the store refused this ({type(cause).__name__})")


def _of_postgresql(cause: BaseException) -> StoreError:
    state = getattr(cause, "sqlstate", None)
    kind = type(cause).__name__
    if state is None or state.startswith(_LOST_SQLSTATES):
        # Without a state it is not the server who speaks, but the driver about its connection.
        return Lost(f"the connection to the database was lost ({kind})")
    if state in _BROKEN_SQLSTATES:
        return StoreBroken(f"{_BROKEN_SQLSTATES[state]} ({kind})")
    busy = _BUSY_SQLSTATES.get(state) or _BUSY_SQLSTATES.get(state[:2])
    return StoreBusy(f"{busy} ({kind})") if busy else Refusal(f"the store refused this ({kind})")
