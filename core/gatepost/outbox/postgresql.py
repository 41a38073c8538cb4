"""The outbox in PostgreSQL: several replicas at once, one database."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, text

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

if TYPE_CHECKING:
    # Otherwise late: who keeps messages in a file shall not hold this in memory.
    from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")

CONNECTIONS = 4
"""One a lane: accepting, sending, reporting and calling don't wait for each other."""

CONNECT = 10.0
"""Seconds that a connection may take to come about."""

COMMAND = 30.0
"""Seconds that a statement may take; no statement of ours takes one, so a connection is dead by then."""

# A queue is empty at one moment and long at the next, and what the planner believes about it is always old: it
# would plan for an empty table, keep that plan, and read all of the table at each claim. Every statement of ours
# has one good way, which is through an index.
_ONE_PLAN = """
SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan
"""

# Any number that nobody else takes: held while the tables are brought up to date.
_MIGRATION_LOCK = 0x6761746570


class PostgresDatabase:
    """Connections to one server, one a lane."""

    def __init__(self, url: Secret) -> None:
        """``url`` in libpq's words, ``?sslmode=verify-full`` and all.

        Raises ConfigError where the driver is not installed.
        """
        self._engine = _engine(url)

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's, for its events."""
        return self._engine.sync_engine

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do the work in a transaction; when this returns it is on disk. Raises what the driver raises."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def scrub(self) -> None:
        """Nothing: the server's vacuum and its own log decide how long old rows are kept."""

    async def close(self) -> None:
        """Hang up."""
        await self._engine.dispose()


def driver() -> Any:
    """The module asyncpg; raises ConfigError where it is not installed."""
    try:
        import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  comes with the extra
    except ImportError:
        problem = "PostgreSQL needs the driver asyncpg: from your checkout, pip install '.[postgres]'"
        raise ConfigError([Fault("store.url", problem)]) from None
    return asyncpg


def _engine(url: Secret) -> "AsyncEngine":
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  as above

    asyncpg = driver()

    async def connect() -> Any:
        connection = await asyncpg.connect(url.reveal(), timeout=CONNECT, command_timeout=COMMAND)
        try:
            # Not when connecting: PgBouncer refuses whoever asks for such settings there.
            await connection.execute(_ONE_PLAN)
        except BaseException:
            connection.terminate()
            raise
        return connection

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=CONNECTIONS,
        max_overflow=1,
        pool_recycle=1800,
        # As on SQLite: an error's text may end in a log, and a message's content must not.
        hide_parameters=True,
    )


def now(connection: Connection) -> int:
    """The server's clock: replicas need not agree about the time among themselves."""
    moment = connection.exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    return int(moment.scalar_one())


def alone(connection: Connection) -> None:
    """Hold other replicas off until this transaction ends: only one of them upgrades the tables."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})


def of_one_moment(connection: Connection) -> None:
    """At the begin of a transaction that only reads: all its statements see what was there at the first."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
