"""The HTTP client for callbacks.

A host name is resolved once. Unless all of its addresses are public, the call is refused. The connection goes to these
addresses and to no others.
"""

import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from socket import AddressFamily
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gatepost import wire
from gatepost.callback_urls import CallbackUrl, CallbackUrlRefused, is_public
from gatepost.config.networks import parse_address
from gatepost.errors import GatepostError


class CallbackFailed(GatepostError):
    """The call brought no answer; ``kind`` is one of `resolve`, `private`, `connect`, `tls`, `timeout`, `lost`.

    `private`: the name has an address that is not public. `lost`: the connection broke after it was established.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"the callback had no answer: {kind}")
        self.kind = kind


class _NotPublicError(Exception):
    """The name has an address that may not be called."""


class _PublicOnlyResolver(AbstractResolver):
    """A resolver that refuses the answer of another one unless every address in it is public."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        if not results:
            raise OSError("the name has no address")
        for result in results:
            address = parse_address(result["host"])
            if address is None or not is_public(address):
                raise _NotPublicError
        return results

    async def close(self) -> None:
        """Leave the other resolver open: its owner closes it."""


class CallbackClient:
    """The HTTP client for the callbacks of all clients; an async context manager.

    URLs that may be private have a connection pool and a DNS cache of their own. So an address that one client may
    call for its tests is never used for the calls of another.
    """

    def __init__(
        self,
        *,
        connections: int = 100,
        timeout: float = 15.0,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take the limits: ``connections`` for each pool, ``timeout`` in seconds for a whole call.

        ``resolver`` and ``tls`` replace those of the system.
        """
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
            False: await self._stack.enter_async_context(self._session(_PublicOnlyResolver(resolver))),
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
        return wire.open_session(
            connections=self._connections,
            timeout=self._timeout,
            headers={"Accept-Encoding": "identity"},
            resolver=resolver,
            tls=self._tls,
            # No compressed answer was asked for, and one could be a decompression bomb.
            auto_decompress=False,
        )

    async def get(self, url: CallbackUrl, query: Mapping[str, str]) -> wire.Reply:
        """GET the URL with these parameters; return the answer whatever its status, redirects included.

        Raises CallbackFailed. Raises CallbackUrlRefused for a literal address that is not public, which the resolver
        would not see. Neither error contains the URL, because it contains the api_key.
        """
        literal = parse_address(url.host)
        if literal is not None and not (url.private or is_public(literal)):
            raise CallbackUrlRefused(f"the callback_url's host {url.host} is not a public address")
        session = self._sessions[url.private]
        try:
            async with session.get(url.with_parameters(query), allow_redirects=False) as response:
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
