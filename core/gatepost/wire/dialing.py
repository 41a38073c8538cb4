"""New connections: the addresses of a name, TCP, TLS, and the tunnel through a proxy."""

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import aiohappyeyeballs

from gatepost.wire.answers import AnswerReader
from gatepost.wire.connections import Connection, LostRequest, NoConnection

_DNS_CACHE_TTL = 10.0
"""Seconds for which the addresses of a host name are used."""

_NEXT_ADDRESS_DELAY = 0.25
"""Seconds after which the next address of a name is tried beside the one before (RFC 8305)."""

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a host name; raises OSError or ValueError."""


class Origin(NamedTuple):
    """A server as a URL names it."""

    tls: bool
    host: str
    """In ASCII; an IPv6 address has no brackets."""
    port: int

    @property
    def authority(self) -> str:
        """The host, and the port unless it is the usual one."""
        usual = 443 if self.tls else 80
        return _bracketed(self.host) if self.port == usual else self.full_authority

    @property
    def full_authority(self) -> str:
        """The host and the port."""
        return f"{_bracketed(self.host)}:{self.port}"


class Proxy(NamedTuple):
    """An HTTP proxy."""

    host: str
    port: int
    authorization: str
    """The value of Proxy-Authorization; empty where there is none."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What a request to the proxy itself has."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


class Dialer:
    """Opens connections."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        resolve: Resolve | None = None,
        may_connect: Callable[[str], bool] = lambda _address: True,
    ) -> None:
        """``tls`` and ``resolve`` replace those of the system.

        Where ``may_connect`` is false for one address of a name, none of them is connected to.
        """
        self._tls = tls
        self._proxy = proxy
        self._names = _NameCache(resolve or _resolve)
        self._may_connect = may_connect

    async def dial(self, origin: Origin, deadline: float) -> Connection:
        """Return a new connection; raise NoConnection when there is none at the deadline, a time of the loop."""
        try:
            async with asyncio.timeout_at(deadline):
                if not origin.tls:
                    target = self._proxy or origin
                    return await self._connect(target.host, target.port)
                if self._tls is None:
                    self._tls = await asyncio.to_thread(_system_tls)
                return await self._connect_tls(origin, self._tls)
        except TimeoutError:
            raise NoConnection("timeout") from None
        except ssl.SSLError:
            raise NoConnection("tls") from None
        # ValueError: no name of a server. RuntimeError: uvloop's, for a socket that was closed meanwhile.
        except (OSError, ValueError, RuntimeError):
            raise NoConnection("connect") from None

    async def _connect_tls(self, origin: Origin, tls: ssl.SSLContext) -> Connection:
        target = self._proxy or origin
        connection = await self._connect(target.host, target.port)
        try:
            if self._proxy is not None:
                await _open_tunnel(connection, origin, self._proxy)
            await connection.start_tls(tls, _server_name(origin.host))
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _connect(self, host: str, port: int) -> Connection:
        infos = [_address_info(address, port) for address in await self._addresses(host)]
        loop = asyncio.get_running_loop()
        connected = await aiohappyeyeballs.start_connection(
            infos, happy_eyeballs_delay=_NEXT_ADDRESS_DELAY, loop=loop
        )
        try:
            _, connection = await loop.create_connection(Connection, sock=connected)
        except BaseException:
            connected.close()
            raise
        return connection

    async def _addresses(self, host: str) -> Sequence[str]:
        try:
            addresses = await self._names.find(host)
        except TimeoutError:
            raise
        except (OSError, ValueError):
            raise NoConnection("resolve") from None
        if not addresses:
            raise NoConnection("resolve")
        if not all(map(self._may_connect, addresses)):
            raise NoConnection("refused")
        return addresses


async def connect_unix(path: str) -> Connection:
    """Return a connection to a socket in the file system; raise NoConnection."""
    try:
        _, connection = await asyncio.get_running_loop().create_unix_connection(Connection, path)
    except OSError:
        raise NoConnection("connect") from None
    return connection


class _NameCache:
    """The addresses of host names; lookups of one name at the same time are one lookup."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._lookups: dict[str, tuple[float, asyncio.Future[Sequence[str]]]] = {}

    async def find(self, host: str) -> Sequence[str]:
        """Return the addresses of a name; raise OSError or ValueError."""
        now = asyncio.get_running_loop().time()
        self._lookups = {name: one for name, one in self._lookups.items() if one[0] > now}
        if host not in self._lookups:
            lookup = asyncio.ensure_future(self._resolve(host))
            self._lookups[host] = now + _DNS_CACHE_TTL, lookup
            lookup.add_done_callback(functools.partial(self._check, host))
        # A sender that is cancelled leaves the lookup to the others.
        return await asyncio.shield(self._lookups[host][1])

    def _check(self, host: str, lookup: asyncio.Future[Sequence[str]]) -> None:
        # The exception is read, so that asyncio does not log an error that no sender waited for.
        failed = lookup.cancelled() or lookup.exception() is not None
        if failed and self._lookups.get(host, (0.0, None))[1] is lookup:
            del self._lookups[host]


async def _resolve(host: str) -> Sequence[str]:
    if _is_address(host):
        # The system knows none of the other family where it has no interface but the loopback's for it.
        return [host]
    infos = await asyncio.get_running_loop().getaddrinfo(
        host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [str(info[4][0]) for info in infos]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _address_info(address: str, port: int) -> aiohappyeyeballs.AddrInfoType:
    family, rest = (socket.AF_INET6, (0, 0)) if ":" in address else (socket.AF_INET, ())
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, *rest)


async def _open_tunnel(connection: Connection, origin: Origin, proxy: Proxy) -> None:
    """Let a proxy connect to a server; raise NoConnection where it does not."""
    to = origin.full_authority
    login = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    reader = AnswerReader("CONNECT", 0)
    try:
        await connection.exchange(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{login}\r\n".encode(), reader)
    except LostRequest:
        raise NoConnection("proxy") from None
    status = reader.answer.status
    if not 200 <= status < 300:
        raise NoConnection("proxy", status)
    if not connection.is_usable:
        raise NoConnection("proxy")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _server_name(host: str) -> str:
    # A certificate names no root of the name system.
    return host.rstrip(".")


@functools.cache
def _system_tls() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts. Its certificates take milliseconds to read."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
