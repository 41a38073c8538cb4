"""Inspection of a store without changing it: what `gatepost serve` would find there."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from gatepost.outbox import postgresql, sqlite
from gatepost.outbox.content_key_use import count_by_key
from gatepost.outbox.driver_errors import opening_problem
from gatepost.outbox.migrate import TablesState, tables_state
from gatepost.outbox.pooler_probe import check_sessions
from gatepost.outbox.store_url import sqlite_path


class Inspection(NamedTuple):
    """The result of an inspection."""

    store: str
    """Which kind of store it is, and for SQLite its path."""
    tables: TablesState
    contents_by_key: Mapping[str, int] = {}
    """How many contents are encrypted with each key, by its id; those that are not encrypted by an empty text."""
    in_use: bool = False
    """Whether a running gateway has the file open."""


async def inspect_store(url: Secret, base: Path) -> Inspection:
    """Inspect the store; raise ConfigError when `gatepost serve` could not open it.

    A store that a gateway has open already raises nothing.
    """
    path = sqlite_path(url, base)
    try:
        return await (_inspect_postgresql(url) if path is None else asyncio.to_thread(_inspect_sqlite, path))
    except DBAPIError as error:
        raise _fault(opening_problem(str(path or "the database"), error)) from None
    except OSError as error:
        raise _fault(f"{error.filename or path or 'the database'}: {error.strerror}") from None


async def check_store(url: Secret, base: Path) -> None:
    """Inspect the store; raise ConfigError also when another gateway has it open."""
    if (await inspect_store(url, base)).in_use and (path := sqlite_path(url, base)):
        raise sqlite.FileLock(path).in_use_error()


def _inspect_sqlite(path: Path) -> Inspection:
    name = f"SQLite, {path}"
    files = {suffix: path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", ".lock")}
    if path.is_dir():
        raise _fault(f"{path} is a folder: name a file in it")
    # Missing folders are created, in the nearest one that exists.
    folder = next(one for one in path.parents if one.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _fault(f"{path} can't be written: the gateway's user needs write access to {folder}")
    for file in files.values():
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            raise _fault(f"{file} can't be written: make the gateway's user its owner")
    if not path.exists():
        return Inspection(name, "missing")
    in_use = sqlite.FileLock(path).is_held()
    engine = sqlite.read_only_engine(path, immutable=not in_use and not files["-wal"].exists())
    with closing(engine.connect()) as connection:
        return _inspect(name, connection)._replace(in_use=in_use)


async def _inspect_postgresql(url: Secret) -> Inspection:
    await check_sessions(url)
    database = postgresql.PostgresDatabase(url)
    try:
        return await database.transact(_inspect_database)
    finally:
        await database.close()


def _inspect_database(connection: Connection) -> Inspection:
    if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
        raise _fault("PostgreSQL takes no writes here: it may be a standby, so name the primary")
    connection.execute(text("SET TRANSACTION READ ONLY"))
    found = _inspect("PostgreSQL, signed in", connection)
    may_create = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
    if found.tables in {"missing", "older"} and not connection.execute(text(may_create)).scalar():
        raise _fault("this user can't create tables in this database: make it the owner of the database")
    return found


def _inspect(name: str, connection: Connection) -> Inspection:
    state = tables_state(connection)
    return Inspection(name, state, count_by_key(connection) if state in {"current", "newer"} else {})


def _fault(problem: str) -> ConfigError:
    return ConfigError([Fault("store.url", problem)])
