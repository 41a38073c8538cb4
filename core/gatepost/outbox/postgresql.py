"""The outbox in PostgreSQL: one database for several replicas."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.util import greenlet_spawn

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

Result = TypeVar("Result")

POOL_SIZE = 4
"""Connections, one for each lane: accepting, sending, reporting and calling back don't wait for each other."""

CONNECT_TIMEOUT = 10.0
"""Seconds."""

COMMAND_TIMEOUT = 30.0
"""Seconds for a statement. No statement of ours takes as long as one second, so after this the connection is dead."""

IDLE_TIMEOUT = 10_000
"""Milliseconds for which a transaction may do nothing; then the server ends the connection. Otherwise a process that
stands still in a transaction would keep its locks, and the other replicas would wait for them."""

# A queue is empty at one moment and long at the next, so the planner's statistics are always old: it would plan for an
# empty table, keep that plan, and read the whole table at each claim. Each of our statements has one good plan, which
# uses an index.
_PLANNER_SETTINGS = """
SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan
"""

# An arbitrary number that no other program uses; locked while the tables are brought up to date.
_MIGRATION_LOCK = 0x6761746570


class PostgresDatabase:
    """Connections to one server, one for each lane."""

    def __init__(self, url: Secret) -> None:
        """``url`` is in libpq's syntax, for example with ``?sslmode=verify-full``.

        Raises ConfigError when the driver is not installed.
        """
        self.engine = _engine(url)
        """SQLAlchemy's engine, for its events."""

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do the work in a transaction, which is on disk when this returns. Raises the driver's errors."""

        def transaction() -> Result:
            with self.engine.begin() as connection:
                return work(connection)

        # The whole transaction in one greenlet. An AsyncEngine has one for each step, which took a third more CPU
        # for a transaction with one statement, and importing it loads SQLAlchemy's object mapper.
        return await greenlet_spawn(transaction)

    async def purge_wal(self) -> None:
        """Do nothing: the server's vacuum and write-ahead log decide how long old rows stay on its disk."""

    async def erase_copies(self) -> None:
        """Do nothing, for the same reason."""

    async def close(self) -> None:
        """Close all connections."""
        await greenlet_spawn(self.engine.dispose)


def driver() -> Any:
    """Return the module asyncpg; raise ConfigError when it is not installed."""
    try:
        import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  an optional dependency
    except ImportError:
        problem = "PostgreSQL needs the driver asyncpg: from your checkout, pip install '.[postgres]'"
        raise ConfigError([Fault("store.url", problem)]) from None
    return asyncpg


def _engine(url: Secret) -> Engine:
    asyncpg = driver()

    async def connect() -> Any:
        connection = await asyncpg.connect(
            url.reveal(), timeout=CONNECT_TIMEOUT, command_timeout=COMMAND_TIMEOUT
        )
        try:
            # Not as parameters of the connection: PgBouncer refuses a client that sends such settings.
            await connection.execute(_PLANNER_SETTINGS)
            await connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_TIMEOUT}")
        except BaseException:
            connection.terminate()
            raise
        return connection

    engine: Engine = create_engine(
        "postgresql+asyncpg://",
        # SQLAlchemy's adapter of the driver, around a connection of ours.
        creator=lambda: engine.dialect.loaded_dbapi.connect(async_creator_fn=connect),
        pool_size=POOL_SIZE,
        max_overflow=1,
        pool_recycle=1800,
        # As on SQLite: an error's text may be logged, and a message's content must not be.
        hide_parameters=True,
    )
    return engine


def now(connection: Connection) -> int:
    """Return the server's time in milliseconds since the epoch: the replicas' clocks may differ."""
    moment = connection.exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    return int(moment.scalar_one())


def lock_migration(connection: Connection) -> None:
    """Wait until no other replica upgrades the tables, and lock them out until this transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})


def use_snapshot(connection: Connection) -> None:
    """Make the transaction read-only, and let all its statements see the data of its first one.

    Each statement is planned for its parameters: what an operator looks for may be in one row of ten or of a million.
    To be called before its first statement.
    """
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    connection.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
