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


class Refusal(StoreBusy):
    """The store took offence at what it was given; something else may succeed."""


def store_error(error: DBAPIError) -> StoreError:
    """The same as one of ours: StoreBroken when the process must stop, else StoreBusy."""
    cause: BaseException | None = error.orig
    while cause is not None and not isinstance(cause, sqlite3.Error):
        cause = cause.__cause__
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        primary = code & 0xFF
        if primary in _BROKEN:
            return StoreBroken(f"{_BROKEN[primary]} ({getattr(cause, 'sqlite_errorname', code)})")
        if primary in _BUSY:
            return StoreBusy(_BUSY[primary])
        return Refusal(f"the store refused this ({type(cause).__name__})")
    return Refusal(f"the store refused this ({type(error.orig).__name__})")
