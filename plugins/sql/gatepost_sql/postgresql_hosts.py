"""The servers that a URL of PostgreSQL names, and the share of the time that each gets to connect."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

_NAME_AND_PORT = re.compile(
    r"(?P<socket>/.*)|\[(?P<v6>[^\]]+)\](?::(?P<v6port>\d+))?|(?P<name>[^:]*)(?::(?P<port>\d+))?"
)


_CACHED_STATEMENTS = 100
"""Prepared statements of a connection."""


class Host(NamedTuple):
    """A server."""

    name: str
    """Its name, its address, or the folder of its Unix socket."""
    port: int | None
    """None for the usual one."""


class Hosts:
    """Connects to one of the servers of a URL, beginning with the one that answered last."""

    def __init__(self, driver: Any, url: str) -> None:
        """``url`` is one that the driver can parse; raises ValueError for one that it can't."""
        options = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
        self._driver = driver
        self._cached_statements = _CACHED_STATEMENTS
        self._errors = (OSError, driver.PostgresError, driver.InterfaceError, driver.InternalClientError)
        self._hosts = hosts_of(url)
        # A server alone can't be preferred: first a standby is looked for, and then any server.
        prefers = options.get("target_session_attrs") == "prefer-standby"
        self._targets = ("standby", "any") if prefers else (None,)

    async def connect(self, *arguments: Any, **options: Any) -> Any:
        """Connect within the option ``timeout``, through a pooler without prepared statements; raises the last error."""
        cached = self._cached_statements
        connection = await self._connect(*arguments, statement_cache_size=cached, **options)
        if not cached:
            return connection
        try:
            is_pooled = await _is_pooled(connection)
        except BaseException:
            connection.terminate()
            raise
        if not is_pooled:
            return connection
        connection.terminate()
        self._cached_statements = 0
        return await self._connect(*arguments, statement_cache_size=0, **options)

    async def _connect(self, *arguments: Any, **options: Any) -> Any:
        """Connect within the option ``timeout``, of which a server that hangs gets only its share; raises the last error."""
        if len(self._hosts) <= 1:
            return await self._driver.connect(*arguments, **options)
        clock = asyncio.get_running_loop().time
        end = clock() + options.pop("timeout")
        hosts, error = self._hosts, None
        for later, target in zip(reversed(range(len(self._targets))), self._targets, strict=True):
            unfit: list[Host] = []
            for position, (name, port) in enumerate(hosts):
                share = max(0.0, end - clock()) / (len(hosts) - position + later)
                server = {"host": name, "port": port, "target_session_attrs": target}
                try:
                    connection = await self._driver.connect(*arguments, timeout=share, **options, **server)
                except self._driver.ClientConfigurationError:
                    raise
                except self._driver.TargetServerAttributeNotMatched as mismatch:
                    error = mismatch
                    unfit.append(Host(name, port))
                except self._errors as failure:
                    error = failure
                else:
                    self._hosts = sorted(self._hosts, key=lambda host: host != (name, port))
                    return connection
            hosts = unfit
        assert error is not None
        raise error


async def _is_pooled(connection: Any) -> bool:
    """Return whether a pooler such as PgBouncer is in front of the server: its connections have no process of their own.

    It may give each transaction another process. There a prepared statement is missing, or is that of another program
    with the same name, whose query would then be run in place of ours.
    """
    statement = await connection.prepare("SELECT pg_backend_pid()", name="")
    return bool(await statement.fetchval() != connection.get_server_pid())


def hosts_of(url: str) -> Sequence[Host]:
    """Return the servers that a URL names itself, in order; none where the driver chooses or refuses them."""
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    address = parts.netloc.rpartition("@")[2]
    found = [_NAME_AND_PORT.fullmatch(one) for one in (address or options.get("host", "")).split(",")]
    ports = [] if address else [int(port) for port in options.get("port", "").split(",") if port]
    if len(ports) == 1:
        ports *= len(found)
    if not all(found) or (ports and len(ports) != len(found)):
        return ()
    hosts = []
    for position, one in enumerate(found):
        assert one is not None
        name = one["socket"] or one["v6"] or one["name"] or ""
        port = one["v6port"] or one["port"]
        default = ports[position] if ports else None
        hosts.append(Host(unquote(name) if address else name, int(port) if port and not ports else default))
    return hosts if all(host.name for host in hosts) else ()
