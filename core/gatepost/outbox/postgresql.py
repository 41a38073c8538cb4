"""The outbox in PostgreSQL: several replicas at once, one database."""

from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

CONNECTIONS = 4
"""One a lane: accepting, sending, reporting and calling don't wait for each other."""

CONNECT = 10.0
"""Seconds that a connection may take to come about."""

COMMAND = 30.0
"""Seconds that a statement may take; no statement of ours takes one, so a connection is dead by then."""

# Any number that nobody else takes: held while the tables are brought up to date.
_MIGRATION_LOCK = 0x6761746570


def engine(url: Secret) -> AsyncEngine:
    """Connections to the server that the URL names, in libpq's words (``?sslmode=verify-full`` and all).

    Raises ConfigError where the driver is not installed.
    """
    try:
        import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  comes with the extra
    except ImportError:
        raise ConfigError(
            [Fault("store.url", "PostgreSQL needs its driver: pip install 'gatepost[postgres]'")]
        ) from None

    async def connect() -> Any:
        return await asyncpg.connect(
            url.reveal(), timeout=CONNECT, command_timeout=COMMAND, server_settings={"jit": "off"}
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=CONNECTIONS,
        max_overflow=1,
        pool_recycle=1800,
    )


def now(connection: Connection) -> int:
    """The server's clock: replicas need not agree about the time among themselves."""
    moment = connection.exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    return int(moment.scalar_one())


def alone(connection: Connection) -> None:
    """Hold other replicas off until this transaction ends: only one of them upgrades the tables."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
