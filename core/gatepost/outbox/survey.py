"""What `gatepost serve` would meet at the store; looking changes nothing there."""

import asyncio
import os
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from gatepost.outbox import postgresql, sqlite
from gatepost.outbox.driver_errors import opening_problem
from gatepost.outbox.migrate import Tables, tables
from gatepost.outbox.pooler_probe import expect_sessions
from gatepost.outbox.store import sqlite_path


class Survey(NamedTuple):
    """What was found."""

    store: str
    """Which store it is, and for SQLite where."""
    tables: Tables
    in_use: bool = False
    """Whether a running gateway has the file open."""


async def survey(url: Secret, base: Path) -> Survey:
    """Look at the store. Raises ConfigError where `gatepost serve` could not open it.

    That a gateway has it open already is no fault here.
    """
    path = sqlite_path(url, base)
    try:
        return await (_postgresql(url) if path is None else asyncio.to_thread(_sqlite, path))
    except DBAPIError as error:
        raise _fault(opening_problem(str(path or "the database"), error)) from None
    except OSError as error:
        raise _fault(f"{error.filename or path or 'the database'}: {error.strerror}") from None


async def expect_free(url: Secret, base: Path) -> None:
    """Look at the store; raises ConfigError also where another gateway has it open."""
    if (await survey(url, base)).in_use and (path := sqlite_path(url, base)):
        raise sqlite.FileLock(path).refusal()


def _sqlite(path: Path) -> Survey:
    name = f"SQLite, {path}"
    beside = {end: path.with_name(path.name + end) for end in ("", "-wal", "-shm", ".lock")}
    if path.is_dir():
        raise _fault(f"{path} is a folder: name a file in it")
    # What is not there yet is made, in the nearest folder that is there.
    folder = next(one for one in path.parents if one.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _fault(f"{path} can't be written: the gateway's user has to write in {folder}")
    for one in beside.values():
        if one.exists() and not os.access(one, os.R_OK | os.W_OK):
            raise _fault(f"{one} can't be written: give it to the gateway's user")
    if not path.exists():
        return Survey(name, "missing")
    in_use = sqlite.FileLock(path).taken()
    engine = sqlite.reading_engine(path, alone=not in_use and not beside["-wal"].exists())
    try:
        with closing(engine.connect()) as connection:
            return Survey(name, tables(connection), in_use)
    finally:
        engine.dispose()


async def _postgresql(url: Secret) -> Survey:
    await expect_sessions(url)
    database = postgresql.PostgresDatabase(url)
    try:
        return Survey("PostgreSQL, signed in", await database.transact(_tables_there))
    finally:
        await database.close()


def _tables_there(connection: Connection) -> Tables:
    if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
        raise _fault("PostgreSQL takes no writes here: it may be a standby, so name the primary")
    connection.execute(text("SET TRANSACTION READ ONLY"))
    found = tables(connection)
    may_make = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
    if found != "current" and not connection.execute(text(may_make)).scalar():
        raise _fault("this user can't make tables in this database: let it own the database")
    return found


def _fault(problem: str) -> ConfigError:
    return ConfigError([Fault("store.url", problem)])
