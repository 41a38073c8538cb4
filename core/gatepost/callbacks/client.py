"""The HTTP client for callbacks.

A host name is resolved once. Unless all of its addresses are public, the call is refused. The connection goes to these
addresses and to no others.
"""

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from gatepost import wire
from gatepost.callback_urls import CallbackUrl, CallbackUrlRefused, is_public
from gatepost.config.networks import parse_address
from gatepost.errors import GatepostError
from gatepost.wire.connections import LostRequest, NoConnection
from gatepost.wire.dialing import Dialer, Origin, Resolve
from gatepost.wire.heads import Heads
from gatepost.wire.pool import Pool, Request


class CallbackFailed(GatepostError):
    """The call brought no answer; ``kind`` is one of `resolve`, `private`, `connect`, `tls`, `timeout`, `lost`.

    `private`: the name has an address that is not public. `lost`: the connection broke after it was established.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"the callback had no answer: {kind}")
        self.kind = kind


_KINDS = {"refused": "private", "closed": "connect", "bad answer": "lost"}
"""The kinds of a failed call, by those of the wire that have another name."""


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
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take the limits: ``connections`` for each pool, ``timeout`` in seconds for a whole call.

        ``resolve`` and ``tls`` replace those of the system.
        """
        self._timeout = timeout
        self._heads = Heads({})
        self._connections = connections
        self._resolve = resolve
        self._tls = tls
        self._pools: dict[bool, Pool] = {}

    async def __aenter__(self) -> Self:
        usual = Dialer(tls=self._tls, resolve=self._resolve)
        public = Dialer(tls=self._tls, resolve=self._resolve, may_connect=_is_public)
        self._pools = {True: Pool(usual, self._connections), False: Pool(public, self._connections)}
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    async def get(self, url: CallbackUrl, query: Mapping[str, str]) -> wire.Reply:
        """GET the URL with these parameters; return the answer whatever its status, redirects included.

        Raises CallbackFailed. Raises CallbackUrlRefused for a literal address that is not public. Neither error contains
        the URL, because it contains the api_key.
        """
        if not url.private and parse_address(url.host) is not None and not _is_public(url.host):
            raise CallbackUrlRefused(f"the callback_url's host {url.host} is not a public address")
        origin = Origin(url.scheme == "https", url.host, url.port)
        head = self._heads.write("GET", url.target_with(query), origin.authority)
        request = Request("GET", head, wire.MAX_REPLY_BYTES, may_repeat=True)
        pool = self._pools[url.private]
        try:
            answer = await pool.exchange(origin, request, pool.deadline(self._timeout))
        except (NoConnection, LostRequest) as error:
            raise CallbackFailed(_KINDS.get(error.kind, error.kind)) from None
        return wire.Reply(status=answer.status, headers=answer.headers, body=answer.body)


def _is_public(text: str) -> bool:
    address = parse_address(text)
    return address is not None and is_public(address)
