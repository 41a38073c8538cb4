"""The outbox in one file: nothing to install, one process."""

import asyncio
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from gatepost.errors import ConfigError, Fault

Result = TypeVar("Result")

# FULL: a commit returns when it is on disk. With NORMAL a power cut takes the last commits with it,
# although they were acknowledged.
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=5000",
    "temp_store=MEMORY",
    "cache_size=-8192",
    # What is deleted is overwritten, as far as the file reaches: erased contents do not linger in free pages.
    # Costs no CPU that could be measured, and as many more bytes in the WAL as the content had. The WAL itself
    # keeps old pages until it is written over from its start (after some 4 MB more) or the store is closed.
    "secure_delete=ON",
)


class FileLock:
    """One `gatepost serve` a file; the operating system lets go of it when the process ends, however."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.path = database.with_name(database.name + ".lock")
        self._descriptor = -1

    def acquire(self) -> None:
        """Raises ConfigError when another process has it, or when the folder can't be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # What was written to people is nobody else's to read; the files beside it take after it.
            self.database.touch(mode=0o600)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError([Fault("store.url", f"{self.path}: {error.strerror}")]) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise ConfigError(
                [
                    Fault(
                        "store.url",
                        f"another gatepost has {self.database} open: one process a file; "
                        "stop it, or use PostgreSQL for several",
                    )
                ]
            ) from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one have it, without what was written into it meanwhile (see ``control``)."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


class OneWriter:
    """The one connection that writes, in a thread of its own.

    One, because SQLite below 3.51.3 can damage a WAL that two of them checkpoint. In one thread for a whole
    transaction, because to hand every statement over by itself cost three times the CPU.
    """

    def __init__(self, path: Path) -> None:
        self.engine = _engine(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do the work in a transaction; when this returns it is on disk. Raises what the driver raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._begun, work)

    def _begun(self, work: Callable[[Connection], Result]) -> Result:
        with self.engine.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.engine.dispose)
        self._thread.shutdown()


def _engine(path: Path) -> Engine:
    made = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        # An error's text may end in a log, and a message's content must not.
        hide_parameters=True,
    )

    @event.listens_for(made, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # We begin transactions ourselves: the driver's own way leaves reads and DDL outside of them.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return made


def reading_engine(path: Path) -> Engine:
    """For looking only, beside a running gateway: what one connection sees is of one moment."""
    made = create_engine(f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true", hide_parameters=True)

    @event.listens_for(made, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # The driver's own way begins no transaction for reads, and each would see what was written meanwhile.
        connection.isolation_level = None

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return made


def clock_of(clock: Callable[[], float]) -> Callable[[Connection], int]:
    """The database's clock is this machine's: both live in one process."""

    def now(_connection: Connection) -> int:
        return int(clock() * 1000)

    return now
