"""The connection to a callback's target.

The name is resolved once, and unless every address it stands for is public, nobody is called; the connection
goes to those very addresses.
"""

import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from socket import AddressFamily
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gatepost import __version__, wire
from gatepost.callback_urls import CallbackUrl, CallbackUrlRefused, is_public
from gatepost.config.networks import parse_address
from gatepost.errors import GatepostError


class CallbackFailed(GatepostError):
    """The call brought no answer; ``kind`` is one of `resolve`, `private`, `connect`, `tls`, `timeout`, `lost`.

    `private`: the name stands for an address that is not public. `lost`: the connection was there, and broke.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"the callback had no answer: {kind}")
        self.kind = kind


class _NotPublicError(Exception):
    """A name stands for an address that may not be called."""


class _PublicOnly(AbstractResolver):
    """Another resolver, whose answers are refused as a whole unless every address in them is public."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not found:
            raise OSError("the name has no address")
        for result in found:
            address = parse_address(result["host"])
            if address is None or not is_public(address):
                raise _NotPublicError
        return found

    async def close(self) -> None:
        """The other resolver is closed by whoever made it."""


class CallbackClient:
    """Calls targets, over kept connections; an async context manager.

    URLs that may be private have connections and a memory of names of their own: what was admitted for
    one client's tests never serves another's calls.
    """

    def __init__(
        self,
        *,
        connections: int = 100,
        timeout: float = 15.0,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``timeout`` (seconds) bounds a call as a whole; ``resolver`` and ``tls`` stand in for the system's."""
        self._connections = connections
        self._timeout = timeout
        self._resolver = resolver
        self._tls = tls
        self._stack = AsyncExitStack()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        resolver = self._resolver or aiohttp.ThreadedResolver()
        self._sessions = {
            True: await self._stack.enter_async_context(self._session(resolver)),
            False: await self._stack.enter_async_context(self._session(_PublicOnly(resolver))),
        }
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def _session(self, resolver: AbstractResolver) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=resolver,
                ssl=self._tls or True,
                limit=self._connections,
                ttl_dns_cache=30,
                keepalive_timeout=14,
            ),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers={"User-Agent": f"gatepost/{__version__}", "Accept-Encoding": "identity"},
            # A compressed answer could be a bomb; none was asked for.
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def get(self, target: CallbackUrl, query: Mapping[str, str]) -> wire.Reply:
        """GET the target with these parameters; any status is a Reply, a redirect too.

        Raises CallbackFailed, and CallbackUrlRefused for an address that is not public: a literal passes by the
        resolver. Neither holds the URL, which holds the api_key.
        """
        literal = parse_address(target.host)
        if literal is not None and not (target.private or is_public(literal)):
            raise CallbackUrlRefused(f"the callback_url's host {target.host} is not a public address")
        session = self._sessions[target.private]
        try:
            async with session.get(target.url(query), allow_redirects=False) as response:
                return await wire.read_reply(response)
        except (aiohttp.ClientError, OSError, ValueError, _NotPublicError) as error:
            raise CallbackFailed(_kind(error)) from None


def _kind(error: Exception) -> str:
    match error:
        case _NotPublicError():
            return "private"
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientConnectorDNSError():
            return "resolve"
        case aiohttp.ClientSSLError():
            return "tls"
        case aiohttp.ClientConnectorError():
            return "connect"
        case _:
            return "lost"
