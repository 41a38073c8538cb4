"""The outbox in one SQLite file: nothing to install, one process."""

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
from sqlalchemy.pool import NullPool, StaticPool

from gatepost.errors import ConfigError, Fault
from gatepost.observe import logs
from gatepost.outbox.driver_errors import sqlite_error
from gatepost.outbox.sqlite_copies import rewrite_if_small

Result = TypeVar("Result")

WAL_PURGE_DELAY = 5.0
"""Seconds without a write after which the write-ahead log (WAL) is emptied, because erased contents are in it."""

BUSY_TIMEOUT = 5000
"""Milliseconds to wait for the file while another process has locked it."""

_MAX_WAL_BYTES = 4 * 1_048_576
"""Bytes to which the WAL is cut when it starts anew: pages behind them would never be overwritten."""

_PRIVATE = 0o600

_log = logs.get(__name__)

# FULL: a commit returns when it is on disk. With NORMAL a power cut loses the last commits, although they were
# acknowledged.
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"busy_timeout={BUSY_TIMEOUT}",
    "temp_store=MEMORY",
    "cache_size=-8192",
    # Erased contents are overwritten in the database file, at no measurable CPU and as many more bytes in the WAL. The
    # WAL itself keeps old pages until it is overwritten, is truncated (see ``purge_wal``) or the store is closed.
    "secure_delete=ON",
    f"journal_size_limit={_MAX_WAL_BYTES}",
)


class FileLock:
    """The lock that allows one `gatepost serve` per file; the operating system releases it when the process ends."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.path = database.with_name(database.name + ".lock")
        self._descriptor = -1

    def acquire(self) -> None:
        """Create the lock file and lock it.

        Raises ConfigError when another process has it, when the folder can't be written, or when the lock's path is a
        link or another special file: a link could lead two stores to one lock.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.path, flags, _PRIVATE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _no_lock(self.path, "is a symbolic link") from None
            problem = f"can't be created ({error.strerror}): the gateway's user needs write access"
            raise ConfigError([Fault("store.url", f"{self.path} {problem}")]) from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(descriptor)
            raise _no_lock(self.path, "is not a plain file, or has a second name")
        if not _try_lock(descriptor):
            os.close(descriptor)
            raise self.in_use_error()
        self._descriptor = descriptor
        try:
            _make_private(self.database)
        except OSError as error:
            self.release()
            raise ConfigError([Fault("store.url", f"{self.database}: {error.strerror}")]) from None

    def in_use_error(self) -> ConfigError:
        """Return the error for a process that can't have the lock."""
        problem = (
            f"another gatepost has {self.database} open, and only one process can have it: "
            "stop that one, or use PostgreSQL for several"
        )
        return ConfigError([Fault("store.url", problem)])

    def is_held(self) -> bool:
        """Return whether a process has the lock; change nothing, and create no file."""
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
        """Release the lock. Its file stays: to remove it would let two processes lock two files of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _try_lock(descriptor: int) -> bool:
    """Lock the file; return False when another process has it for longer than ``is_held`` takes."""
    for _ in range(20):
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.005)
    return False


def _no_lock(path: Path, problem: str) -> ConfigError:
    return ConfigError([Fault("store.url", f"{path} {problem}, and can't be used as the lock: move it away")])


def _make_private(database: Path) -> None:
    """Give the database's files mode 0600.

    Called while the lock is held. SQLite gives the files beside a new database the database's mode; files left by a
    process that died keep their own. The mode is changed by name: to open and close a file would undo SQLite's
    locks on it.
    """
    database.touch(mode=_PRIVATE)
    for path in (database, _beside(database, "-wal"), _beside(database, "-shm")):
        with suppress(FileNotFoundError):
            _restrict_access(path, path.lstat().st_mode)


def _restrict_access(path: Path, mode: int) -> None:
    """Give a regular file mode 0600 where other users have access to it; log that, or that it failed."""
    if not stat.S_ISREG(mode) or not mode & 0o077:
        return
    event = "store_permissions_fixed"
    try:
        path.chmod(_PRIVATE)
    except PermissionError:
        event = "store_permissions_too_open"
    _log.warning(event, path=str(path), mode=f"{stat.S_IMODE(mode):04o}")


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


class SqliteDatabase:
    """The one connection that writes, in a thread of its own.

    There is one connection, because SQLite below 3.51.3 can damage a WAL that two connections checkpoint. The thread
    gets a whole transaction, because passing it each statement by itself cost three times the CPU.
    """

    def __init__(self, path: Path) -> None:
        self.engine = _engine(path)
        self._connection: Connection | None = None
        self._file = path
        self._wal = _beside(path, "-wal")
        self._wal_state: tuple[int, int] = 0, 0
        """Size of the WAL and time of its last write, when it was checked last."""
        self._unchanged_since = 0.0
        """Since when both are unchanged, in seconds of the monotonic clock."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do the work in a transaction, which is on disk when this returns. Raises the driver's errors."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[Connection], Result]) -> Result:
        # Always the same one: to take it from the pool and give it back took twice as long as to begin and commit.
        self._connection = connection = self._connection or self.engine.connect()
        try:
            with connection.begin():
                return work(connection)
        except BaseException:
            # The pool rolls back what a failed commit has left open; without that, no transaction could begin again.
            connection.close()
            self._connection = None
            raise

    async def purge_wal(self) -> None:
        """Empty the WAL when nothing was written for WAL_PURGE_DELAY seconds: erased contents are in it.

        Call it about once a second. It does nothing during traffic, which would wait for it, and nothing while another
        process reads, for which it would have to wait. Raises StoreError.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._purge_wal)

    def _purge_wal(self) -> None:
        try:
            status = self._wal.stat()
        except OSError:
            # There is no WAL, or its file system does not answer: the next call is soon.
            return
        now, state = time.monotonic(), (status.st_size, status.st_mtime_ns)
        if state != self._wal_state:
            self._wal_state, self._unchanged_since = state, now
        elif status.st_size and now - self._unchanged_since >= WAL_PURGE_DELAY:
            self._unchanged_since = now
            self._truncate_wal()

    def _truncate_wal(self) -> None:
        # The driver's own connection, because SQLAlchemy's would begin a transaction.
        with closing(self.engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA busy_timeout=0")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as error:
                raise sqlite_error(error) from None
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")

    async def erase_copies(self) -> None:
        """Remove copies of erased rows from the file, if it is small, and from the WAL. Raises StoreError."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, rewrite_if_small, self.engine, self._file)
        await loop.run_in_executor(self._thread, self._truncate_wal)

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
        self.engine.dispose()


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        # An error's text may be logged, and a message's content must not be.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # Transactions are begun below: the driver on its own leaves reads and DDL outside of them.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def read_only_engine(path: Path, *, immutable: bool = False) -> Engine:
    """Return an engine for reads beside a running gateway: a transaction sees the data of one moment.

    It has no pool: when a connection is closed here, SQLite closes it too.
    ``immutable``: no process writes to the file, and there is no WAL. Then SQLite creates no files beside it.
    """
    options = "mode=ro&immutable=1" if immutable else "mode=ro"
    engine = create_engine(
        f"sqlite:///file:{quote(str(path))}?{options}&uri=true", poolclass=NullPool, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # The driver on its own begins no transaction for reads: each read would see what was written meanwhile.
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def database_clock(clock: Callable[[], float]) -> Callable[[Connection], int]:
    """Return the function for the database's time in milliseconds, which on SQLite is this process's ``clock``."""

    def now(_connection: Connection) -> int:
        return int(clock() * 1000)

    return now
