"""How commands read the store, and open it for a change where no gateway runs."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import NoReturn, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gatepost.cli.common import fail
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path, read_settings
from gatepost.content_keys import ContentKeys
from gatepost.errors import ConfigError, Fault, StoreError
from gatepost.model import Secret
from gatepost.outbox import Outbox, Policy, open_outbox, postgresql, sqlite
from gatepost.outbox.driver_errors import store_error
from gatepost.outbox.store_url import sqlite_path

Result = TypeVar("Result")


class StoreUnreadable(Exception):
    """The store can't be read; the text says why."""


def load_settings(config: Path | None) -> Settings:
    """Return the settings; raise ConfigError only for faults in the parts that concern the store.

    The plugins' settings are not checked: their secrets are often in the gateway's environment only. Nor are the keys
    of contents, for the same reason: a command that has to read one says that its key is missing.
    """
    settings, faults = _read_settings(config)
    concerning_store = [
        fault
        for fault in faults
        if fault.key.partition(".")[0] in {"", "store", "delivery"} and fault.key != "store.content_keys"
    ]
    if settings is None or concerning_store:
        raise ConfigError(concerning_store or faults)
    return settings


def load_address(config: Path | None) -> Settings:
    """Return the settings for a command that only asks the gateway; raise ConfigError if they don't say where it listens.

    With ``admin_socket`` the store does not matter. systemd shows credentials, such as its URL, to the gateway alone.
    """
    settings, _ = _read_settings(config)
    return settings if settings and settings.server.admin_socket else load_settings(config)


def _read_settings(config: Path | None) -> tuple[Settings | None, list[Fault]]:
    def skip_plugin(_use: str) -> NoReturn:
        raise ConfigError([])

    return read_settings(config_path(config), skip_plugin)


async def fetch(settings: Settings, query: Callable[[Connection], Result]) -> Result:
    """Return what ``query`` reads from the store, as ``read`` does; end the command when the store can't be read."""
    try:
        return await read(settings, query)
    except StoreUnreadable as error:
        fail(str(error))


async def read(settings: Settings, query: Callable[[Connection], Result]) -> Result:
    """Return what ``query`` reads from the store, which sees the data of one moment. Raises StoreUnreadable.

    Works beside a running gateway and without one.
    """
    path = sqlite_path(settings.store.url, settings.path.parent)
    try:
        if path is None:
            return await _read_postgresql(settings.store.url, query)
        if not path.exists():
            raise StoreUnreadable(_no_file(path))
        engine = sqlite.read_only_engine(path)
        with closing(engine.connect()) as connection:
            return query(connection)
    except DBAPIError as error:
        raise StoreUnreadable(f"the store can't be read: {store_error(error)}") from None
    except StoreError as error:
        raise StoreUnreadable(str(error)) from None
    except OSError as error:
        raise StoreUnreadable(f"the store can't be reached ({type(error).__name__})") from None


async def _read_postgresql(url: Secret, query: Callable[[Connection], Result]) -> Result:
    database = postgresql.PostgresDatabase(url)

    def read_snapshot(connection: Connection) -> Result:
        postgresql.use_snapshot(connection)
        return query(connection)

    try:
        return await database.transact(read_snapshot)
    finally:
        await database.close()


def clock(settings: Settings) -> Callable[[Connection], int]:
    """Return the clock of the store: a query for its time in milliseconds since the epoch."""
    if sqlite_path(settings.store.url, settings.path.parent) is None:
        return postgresql.now
    return sqlite.database_clock(time.time)


def require_file(path: Path) -> None:
    """End the command where there is no SQLite file."""
    if not path.exists():
        fail(_no_file(path))


def _no_file(path: Path) -> str:
    return f"there is no store at {path}: the gateway has never run with this configuration"


def open_store(settings: Settings) -> AbstractAsyncContextManager[Outbox]:
    """Open the store for a change, where no gateway runs on this machine."""
    policy = Policy(
        uncertain_wait=settings.delivery.uncertain_wait,
        hold_uncertain=settings.delivery.uncertain == "hold",
        content_keys=ContentKeys(settings.store.content_keys),
    )
    return open_outbox(settings.store.url, settings.path.parent, policy)
