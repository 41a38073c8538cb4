"""New connections to PostgreSQL: when the next attempt may begin, and how an attempt ends whose lookup was cancelled."""

import asyncio
from typing import TYPE_CHECKING, Any

from gatepost.errors import ConfigError, Fault
from gatepost_sql.postgresql_hosts import Hosts
from gatepost_sql.reconnect import Reconnection, Resting

if TYPE_CHECKING:
    import asyncpg  # type: ignore[import-untyped]

_REFUSED_URL = ("22", "42", "55P02")
"""How SQLSTATEs begin that say of a new connection: an option is unknown, fixed or wrong, or the user may not connect."""


class Connector:
    """Makes the connections of a pool."""

    def __init__(self, hosts: Hosts, connections: int, deadline: float) -> None:
        """Prepare: ``connections`` is the pool's size, and an attempt takes at most ``deadline`` seconds."""
        self._hosts = hosts
        self._connections = connections
        self._deadline = deadline
        self._reconnection = Reconnection(deadline)
        self._abandoned: set[asyncio.Task[asyncpg.Connection]] = set()

    async def connect(self, *arguments: Any, **options: Any) -> "asyncpg.Connection":
        """Connect as the driver does; raises its error.

        Raises Resting when it is too early for an attempt, and ConfigError for a URL that the database refuses.
        """
        self._reconnection.begin()
        if len(self._abandoned) >= self._connections:
            raise Resting
        try:
            connection = await self._attempt(*arguments, **options)
        except BaseException as error:
            # A lookup that was cancelled says nothing about the database.
            if isinstance(error, Exception):
                self._reconnection.note_failure()
            state = getattr(error, "sqlstate", None) or ""
            if not state.startswith(_REFUSED_URL):
                raise
        else:
            self._reconnection.note_success()
            return connection
        problem = f"is refused by the database: check its options and the rights of its user ({state})"
        raise ConfigError([Fault("url", problem)])

    async def close(self) -> None:
        """Wait for the end of the attempts whose lookups were cancelled: at most the deadline."""
        if self._abandoned:
            await asyncio.wait(self._abandoned)

    async def _attempt(self, *arguments: Any, **options: Any) -> "asyncpg.Connection":
        """Connect; when this is cancelled, let the attempt come to its end, and close its connection then.

        When an attempt of the driver is cancelled, an error may remain that no code reads. asyncio would log it.
        """

        async def connect() -> "asyncpg.Connection":
            async with asyncio.timeout(self._deadline):
                return await self._hosts.connect(*arguments, **options)

        def end(done: "asyncio.Task[asyncpg.Connection]") -> None:
            self._abandoned.discard(done)
            if not done.cancelled() and done.exception() is None:
                done.result().terminate()

        task = asyncio.create_task(connect())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._abandoned.add(task)
            task.add_done_callback(end)
            raise
