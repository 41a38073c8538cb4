"""The outbox in one file: nothing to install, one process."""

import asyncio
import errno
import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from gatepost.errors import ConfigError, Fault
from gatepost.observe import logs
from gatepost.outbox.driver_errors import of_sqlite

Result = TypeVar("Result")

SCRUB_AFTER = 5.0
"""Seconds without a write after which what was erased is taken out of the write-ahead log too."""

BUSY = 5000
"""Milliseconds that the file is waited for while another process has locked it."""

_WAL_BYTES = 4 * 1_048_576
"""Bytes of the write-ahead log that are kept when it begins anew: what is behind them would stay for ever."""

_PRIVATE = 0o600

_log = logs.get(__name__)

# FULL: a commit returns when it is on disk. With NORMAL a power cut takes the last commits with it,
# although they were acknowledged.
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"busy_timeout={BUSY}",
    "temp_store=MEMORY",
    "cache_size=-8192",
    # What is deleted is overwritten, as far as the file reaches: erased contents do not linger in free pages.
    # Costs no CPU that could be measured, and as many more bytes in the WAL as the content had. The WAL itself
    # keeps old pages until it is written over, is truncated (see ``scrub``) or the store is closed.
    "secure_delete=ON",
    f"journal_size_limit={_WAL_BYTES}",
)


class FileLock:
    """One `gatepost serve` a file; the operating system lets go of it when the process ends, however."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.path = database.with_name(database.name + ".lock")
        self._descriptor = -1

    def acquire(self) -> None:
        """Make the file, and see to it that it is ours alone.

        Raises ConfigError when another process has it, when the folder can't be written, or when something else
        stands where the lock is to be: what is written into the lock must not end up there.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.path, flags, _PRIVATE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _no_lock(self.path, "is a symbolic link") from None
            problem = f"{self.path} can't be made ({error.strerror}): the gateway's user has to write there"
            raise ConfigError([Fault("store.url", problem)]) from None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(descriptor)
            raise _no_lock(self.path, "is no file of its own")
        if not _locked(descriptor):
            os.close(descriptor)
            raise self.refusal()
        self._descriptor = descriptor
        try:
            _make_private(self.database)
        except OSError as error:
            self.release()
            raise ConfigError([Fault("store.url", f"{self.database}: {error.strerror}")]) from None

    def refusal(self) -> ConfigError:
        """What is said to a process that can't have it."""
        problem = (
            f"another gatepost has {self.database} open, and only one process can have it: "
            "stop that one, or use PostgreSQL for several"
        )
        return ConfigError([Fault("store.url", problem)])

    def taken(self) -> bool:
        """Whether a process has it; changes nothing, and makes no file."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Let the next one have it, without what was written into it meanwhile (see ``control``)."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def _locked(descriptor: int) -> bool:
    """Lock the file; False when another process has it. One that merely asks has it for an instant."""
    for _ in range(20):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.005)
        else:
            return True
    return False


def _no_lock(path: Path, problem: str) -> ConfigError:
    return ConfigError([Fault("store.url", f"{path} {problem}, and can't be the lock: move it away")])


def _make_private(database: Path) -> None:
    """Give the database's files mode 0600.

    Called while the lock is held. SQLite gives the files beside a new database the database's mode; those that a
    dead process left have their own. By their names: to open and close one of them would undo SQLite's locks.
    """
    database.touch(mode=_PRIVATE)
    for path in (database, _beside(database, "-wal"), _beside(database, "-shm")):
        with suppress(FileNotFoundError):
            _close_to_others(path, path.lstat().st_mode)


def _close_to_others(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode) or not mode & 0o077:
        return
    event = "store_was_open_to_others"
    try:
        path.chmod(_PRIVATE)
    except PermissionError:
        event = "store_is_open_to_others"
    _log.warning(event, path=str(path), mode=f"{stat.S_IMODE(mode):04o}")


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


class SqliteDatabase:
    """The one connection that writes, in a thread of its own.

    One, because SQLite below 3.51.3 can damage a WAL that two of them checkpoint. In one thread for a whole
    transaction, because to hand every statement over by itself cost three times the CPU.
    """

    def __init__(self, path: Path) -> None:
        self.engine = _engine(path)
        self._wal = _beside(path, "-wal")
        self._seen: tuple[int, int] = 0, 0
        """Size and time of the last write of the WAL when it was looked at..."""
        self._since = 0.0
        """...and since when they are so, in seconds of the monotonic clock."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do the work in a transaction; when this returns it is on disk. Raises what the driver raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._begun, work)

    def _begun(self, work: Callable[[Connection], Result]) -> Result:
        with self.engine.begin() as connection:
            return work(connection)

    async def scrub(self) -> None:
        """Empty the write-ahead log when nothing was written for SCRUB_AFTER seconds: erased contents are in it.

        To be called every now and then. Not while there is traffic, which would wait for it, and not while somebody
        reads, for whom it would have to wait. Raises StoreError.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._scrub)

    def _scrub(self) -> None:
        try:
            status = self._wal.stat()
        except OSError:
            # It is not there, or its file system does not answer: the next look is soon.
            return
        now, seen = time.monotonic(), (status.st_size, status.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif status.st_size and now - self._since >= SCRUB_AFTER:
            self._since = now
            self._truncate()

    def _truncate(self) -> None:
        # The driver's connection: SQLAlchemy's would begin a transaction.
        with closing(self.engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA busy_timeout=0")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as error:
                raise of_sqlite(error) from None
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY}")

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.engine.dispose)
        self._thread.shutdown()


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        # An error's text may end in a log, and a message's content must not.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # We begin transactions ourselves: the driver's own way leaves reads and DDL outside of them.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def reading_engine(path: Path, *, alone: bool = False) -> Engine:
    """For looking only, beside a running gateway: what one connection sees is of one moment.

    ``alone``: no process writes to it, and there is no WAL. Then not even SQLite's own files are engine.
    """
    options = "mode=ro&immutable=1" if alone else "mode=ro"
    engine = create_engine(f"sqlite:///file:{quote(str(path))}?{options}&uri=true", hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # The driver's own way begins no transaction for reads, and each would see what was written meanwhile.
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def clock_of(clock: Callable[[], float]) -> Callable[[Connection], int]:
    """The database's clock is this machine's: both live in one process."""

    def now(_connection: Connection) -> int:
        return int(clock() * 1000)

    return now
