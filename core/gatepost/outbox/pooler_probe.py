"""Whether a PostgreSQL server lets the gateway in, and leaves each connection its session.

A pooler such as PgBouncer in transaction mode hands each transaction to any connection of its own. Then what
the gateway has set for its connection holds for another one, and its prepared statements are not there: the
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
from gatepost.outbox.postgresql import COMMAND, CONNECT, driver

_ASKED = (0, 0, 1, 2) * 2
"""Which connection is asked for its server process, one after the other.

A pooler that hands out the process that was given back last gives the same one to two connections. One that
hands them out in turn gives another one to connection 0 the second time, or has only one for all of them.
"""

_REFUSALS = {
    "08": "a pooler before PostgreSQL refuses the connection: see its log, and that its pool_mode is session",
    "28": "PostgreSQL refuses the user or the password of this URL: correct them, or see its pg_hba.conf",
    "3D": "PostgreSQL has no database of this name: create it, or correct the name at the end of this URL",
    "42": "PostgreSQL does not let this user connect to this database: GRANT CONNECT",
    "53": "PostgreSQL has no room for another connection: a gateway needs five (see max_connections)",
    "57": "PostgreSQL is starting or shutting down: start again when it is up",
}
"""By the class of the SQLSTATE."""


async def expect_sessions(url: Secret) -> None:
    """Connect a few times; raises ConfigError where that fails or where a session is not kept together."""
    asyncpg = driver()
    try:
        async with asyncio.timeout(CONNECT), AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(_connected(asyncpg, url)) for _ in set(_ASKED)]
            kept = await _keep_their_process(connections)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ConfigError([Fault("store.url", _problem(error))]) from None
    if not kept:
        problem = (
            "what answers is a pooler in transaction mode, which mixes up the gateway's sessions: "
            "let PgBouncer use pool_mode = session for this database, or connect to PostgreSQL itself"
        )
        raise ConfigError([Fault("store.url", problem)])


@asynccontextmanager
async def _connected(asyncpg: Any, url: Secret) -> AsyncIterator[Any]:
    # Without prepared statements, which not every pooler keeps between two transactions.
    connection = await asyncpg.connect(
        url.reveal(), timeout=CONNECT, command_timeout=COMMAND, statement_cache_size=0
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def _keep_their_process(connections: Sequence[Any]) -> bool:
    processes: dict[int, int] = {}
    for asked in _ASKED:
        async with connections[asked].transaction():
            process = await connections[asked].fetchval("SELECT pg_backend_pid()")
        if processes.setdefault(asked, process) != process:
            return False
    return len(set(processes.values())) == len(connections)


def _problem(error: Exception) -> str:
    """What is wrong and what to do; never the driver's own text, which may quote the URL."""
    kind = type(error).__name__
    state = getattr(error, "sqlstate", None)
    if state:
        known = _REFUSALS.get(state[:2], "PostgreSQL refuses the connection: see its log")
        return f"{known} ({kind}, {state})"
    if isinstance(error, TimeoutError):
        return (
            f"PostgreSQL, or a pooler before it, did not answer within {CONNECT:g} s: see that it can be reached, "
            "and that a pooler has five connections for each gateway"
        )
    if isinstance(error, ssl.SSLError):
        return f"the TLS connection to PostgreSQL failed ({error.reason}): see sslmode and sslrootcert"
    if isinstance(error, socket.gaierror):
        return "the host of this URL is not known: correct its name"
    if isinstance(error, OSError):
        why = os.strerror(error.errno) if error.errno else kind
        return f"PostgreSQL can't be reached ({why}): see that it runs, and the host and port of this URL"
    return f"the driver can't use this URL ({kind}): write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
