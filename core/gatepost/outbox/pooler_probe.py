"""A check that a PostgreSQL server admits the gateway, and that each connection keeps its session.

A pooler such as PgBouncer in transaction mode gives each transaction to any of its own connections. Then the settings
that the gateway makes for its connection apply to another connection, and its prepared statements are missing: the
gateway would start, and stall under load.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from gatepost.outbox.postgresql import COMMAND_TIMEOUT, CONNECT_TIMEOUT, driver

_PROBE_ORDER = (0, 0, 1, 2) * 2
"""Which of three connections is asked for the id of its server process, one question after the other.

A pooler that reuses the process returned last gives the same one to two connections. A pooler that takes them in turn
gives connection 0 another process the second time, or has only one process for all of them.
"""

_REFUSALS = {
    "08": "a pooler in front of PostgreSQL refuses the connection: look in its log, and set its pool_mode to session",
    "28": "PostgreSQL refuses the user or the password of this URL: correct them, or look in its pg_hba.conf",
    "3D": "PostgreSQL has no database of this name: create it, or correct the name at the end of this URL",
    "42": "PostgreSQL does not let this user connect to this database: GRANT CONNECT",
    "53": "PostgreSQL has no connection left: a gateway needs five (see max_connections)",
    "57": "PostgreSQL is starting or shutting down: start the gateway again when it is up",
}
"""What is wrong and what to do, by the class of the SQLSTATE."""


async def check_sessions(url: Secret) -> None:
    """Connect a few times; raise ConfigError when that fails or when a connection does not keep its session."""
    asyncpg = driver()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT), AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(_connection(asyncpg, url)) for _ in set(_PROBE_ORDER)
            ]
            is_session_kept = await _keep_their_process(connections)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ConfigError([Fault("store.url", _problem(error))]) from None
    if not is_session_kept:
        problem = (
            "this is a pooler in transaction mode, which mixes up the gateway's sessions: "
            "set PgBouncer's pool_mode to session for this database, or connect to PostgreSQL directly"
        )
        raise ConfigError([Fault("store.url", problem)])


@asynccontextmanager
async def _connection(asyncpg: Any, url: Secret) -> AsyncIterator[Any]:
    # Without prepared statements, which some poolers lose between two transactions.
    connection = await asyncpg.connect(
        url.reveal(), timeout=CONNECT_TIMEOUT, command_timeout=COMMAND_TIMEOUT, statement_cache_size=0
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def _keep_their_process(connections: Sequence[Any]) -> bool:
    """Return whether each connection always has the same server process, and no two share one."""
    processes: dict[int, int] = {}
    for number in _PROBE_ORDER:
        async with connections[number].transaction():
            process = await connections[number].fetchval("SELECT pg_backend_pid()")
        if processes.setdefault(number, process) != process:
            return False
    return len(set(processes.values())) == len(connections)


def _problem(error: Exception) -> str:
    """Return what is wrong and what to do; never the driver's own text, which may quote the URL."""
    kind = type(error).__name__
    state = getattr(error, "sqlstate", None)
    if state:
        known = _REFUSALS.get(state[:2], "PostgreSQL refuses the connection: look in its log")
        return f"{known} ({kind}, {state})"
    if isinstance(error, TimeoutError):
        return (
            f"PostgreSQL, or a pooler in front of it, did not answer within {CONNECT_TIMEOUT:g} s: check that it can "
            "be reached, and that a pooler has five connections for each gateway"
        )
    if isinstance(error, ssl.SSLError):
        return f"the TLS connection to PostgreSQL failed ({error.reason}): check sslmode and sslrootcert"
    if isinstance(error, socket.gaierror):
        return "the host of this URL is not known: correct its name"
    if isinstance(error, OSError):
        reason = os.strerror(error.errno) if error.errno else kind
        return (
            f"PostgreSQL can't be reached ({reason}): check that it runs, and the host and port of this URL"
        )
    return f"the driver can't use this URL ({kind}): write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
