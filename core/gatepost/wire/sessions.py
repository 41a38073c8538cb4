"""Sessions of aiohttp, for the plugins' client and for the core's own."""

import ssl
from collections.abc import Mapping

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver

from gatepost import __version__
from gatepost.wire.replies import MAX_REPLY_BYTES, Reply

# Less than the idle timeouts of common servers (nginx 75 s, many load balancers 60 s, some 15 s): a send on a
# connection that the server is just closing would become uncertain without need.
_KEEPALIVE_TIMEOUT = 14.0

_DNS_CACHE_TTL = 10
"""Seconds for which an address of a host name is used."""


def open_session(
    *,
    connections: int,
    timeout: float,
    headers: Mapping[str, str],
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
    proxy: str | None = None,
    auto_decompress: bool = True,
    request_class: type[aiohttp.ClientRequest] = aiohttp.ClientRequest,
) -> aiohttp.ClientSession:
    """Return a session that reads no proxy variable, cookie or ``.netrc``; for the core's own HTTP clients.

    ``timeout`` (seconds) limits each request, and ``connections`` the size of the pool. ``resolver`` and ``tls``
    replace those of the system. ``proxy`` is an http URL, which may have a user and a password.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=connections,
            keepalive_timeout=_KEEPALIVE_TIMEOUT,
            resolver=resolver,
            ssl=tls or True,
            ttl_dns_cache=_DNS_CACHE_TTL,
        ),
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers=with_headers({"User-Agent": f"gatepost/{__version__}"}, headers),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=None if proxy is None else yarl.URL(proxy),
        trust_env=False,
        auto_decompress=auto_decompress,
        request_class=request_class,
    )


def with_headers(usual: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
    """Return both; one of ``own`` replaces the usual one of its name, in whatever case the two are written."""
    names = {name.lower() for name in own}
    return {**{name: value for name, value in usual.items() if name.lower() not in names}, **own}


async def read_reply(
    response: aiohttp.ClientResponse, *, sends: bool = True, limit: int = MAX_REPLY_BYTES
) -> Reply:
    """Read an answer of aiohttp, with at most ``limit`` bytes of its body."""
    return Reply(
        status=response.status,
        headers=response.headers,
        body=await _read_body(response, limit),
        sends=sends,
    )


async def _read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    length = response.content_length
    # A compressed body may be short and still hold a gigabyte.
    if length is not None and length <= limit and "Content-Encoding" not in response.headers:
        return await response.read()
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            # The status has already said what the provider did with the request.
            response.close()
            break
    return bytes(content[:limit])
