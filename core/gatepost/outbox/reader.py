"""Reads of the store for pages, on connections of their own: they never wait for a writer, and no writer for them."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gatepost.errors import StoreBusy
from gatepost.model import Secret
from gatepost.outbox import postgresql, sqlite
from gatepost.outbox.driver_errors import store_error
from gatepost.outbox.store_url import sqlite_path

Result = TypeVar("Result")

MAX_READS = 2
"""Reads at the same time; further ones wait. A page that is asked for again and again must not take all connections."""


class Reader:
    """Reads a store that a gateway of this process has open. ``close`` it at the end."""

    def __init__(self, url: Secret, base: Path) -> None:
        path = sqlite_path(url, base)
        self.clock = sqlite.database_clock(time.time) if path else postgresql.now
        """The store's clock: milliseconds since the epoch, by a connection."""
        self._slots = asyncio.Semaphore(MAX_READS)
        self._threads = ThreadPoolExecutor(MAX_READS, "console-read") if path else None
        self._engine = sqlite.read_only_engine(path) if path else None
        self._database = None if path else postgresql.PostgresDatabase(url)

    async def read(self, query: Callable[[Connection], Result]) -> Result:
        """Return what ``query`` reads, which sees the data of one moment. Raises StoreError."""
        async with self._slots:
            try:
                if self._database is not None:
                    return await self._database.transact(partial(_read_snapshot, query))
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, self._read_sqlite, query)
            except DBAPIError as error:
                raise store_error(error) from None
            except (OSError, TimeoutError) as error:
                raise StoreBusy(f"the database can't be reached ({type(error).__name__})") from None

    def _read_sqlite(self, query: Callable[[Connection], Result]) -> Result:
        assert self._engine is not None
        with self._engine.connect() as connection:
            return query(connection)

    async def close(self) -> None:
        """Close all connections."""
        if self._database is not None:
            await self._database.close()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)


def _read_snapshot(query: Callable[[Connection], Result], connection: Connection) -> Result:
    postgresql.use_snapshot(connection)
    return query(connection)
