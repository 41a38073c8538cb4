"""Pooled HTTP for plugins: one deadline for each request, no repeats, and exact outcomes.

    async with wire.connect(base_url, timeout=context.timeout, connections=context.concurrency) as http:
        reply = await http.post("/v1/messages", body, headers={"Authorization": ...})
        wire.expect_success(reply)

A request that fails raises Unavailable when there was no connection, and Uncertain when the connection was lost
after the request had begun to leave: the provider may have it. A POST is never sent twice (a GET may be sent a second
time when a reused connection drops). No redirect is followed, and no proxy variable, cookie or ``.netrc`` is read.
"""

import io
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlsplit

import aiohttp
import msgspec
import yarl
from aiohttp.abc import AbstractResolver

from gatepost import __version__
from gatepost.errors import ConfigError, Fault, Rejected, Unavailable, Uncertain

MAX_REPLY_BYTES = 64 * 1024
"""Bytes of an answer's body that are read; a provider's answer to a send has a few hundred."""

# Less than the idle timeouts of common servers (nginx 75 s, many load balancers 60 s, some 15 s): a send on a
# connection that the server is just closing would become uncertain without need.
_KEEPALIVE_TIMEOUT = 14.0

_LARGE_BODY = 1_048_576
"""Bytes above which aiohttp warns about a body that is not a file."""

MISCONFIGURED: Collection[int] = frozenset({401, 402, 403, 404, 405})
"""HTTP statuses whose cause only the operator can fix: a wrong key, no credit, no permission, a wrong base_url."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer with any status."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes
    """The first MAX_REPLY_BYTES bytes at most."""

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"

    def json(self) -> object:
        """Return the decoded body; None where it is not JSON."""
        if not self.body:
            return None
        try:
            return msgspec.json.decode(self.body)
        except (ValueError, RecursionError):
            return None


# The current task's list, which gets an item as soon as the request begins to leave.
_send_begun: ContextVar[list[bool]] = ContextVar("gatepost_send_begun")


class _Request(aiohttp.ClientRequest):
    """A request that records when it has a connection; the tracing of aiohttp would take 7 % of a send's CPU."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        _send_begun.get().append(True)
        return await super().send(conn)


@lru_cache(maxsize=128)
def _url(text: str) -> yarl.URL:
    return yarl.URL(text)


class Http:
    """A pool of connections to one provider, opened by ``connect``."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a GET to ``base_url + path`` and read the answer; raises as ``post`` does."""
        return await self._request("GET", path, None, headers)

    async def post(self, path: str, body: bytes, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a POST with ``body``, JSON unless the headers say otherwise, and read the answer.

        Raises Unavailable when there was no connection, and Uncertain when the connection was lost or the deadline
        passed after the request had begun to leave.
        """
        return await self._request("POST", path, body, headers)

    async def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> Reply:
        if self._session.closed:
            raise Unavailable("no connection (the connections were closed: the plugin's lifespan has ended)")
        begun: list[bool] = []
        token = _send_begun.set(begun)
        try:
            async with self._session.request(
                method,
                _url(self._base_url + path),
                # aiohttp wants a large body as a file, so that copying it does not block the event loop.
                data=io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY else body,
                headers=headers,
                allow_redirects=False,
            ) as response:
                return await read_reply(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Only the error's type is passed on: its text may quote the request.
            kind = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
            if begun:
                raise Uncertain(f"the connection was lost after the request was out ({kind})") from None
            raise Unavailable(f"no connection ({kind})") from None
        finally:
            _send_begun.reset(token)


async def read_reply(response: aiohttp.ClientResponse) -> Reply:
    """Read an answer of aiohttp, with at most MAX_REPLY_BYTES bytes of its body."""
    return Reply(status=response.status, headers=response.headers, body=await _read_body(response))


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    # A compressed body may be short and still hold a gigabyte.
    if length is not None and length <= MAX_REPLY_BYTES and "Content-Encoding" not in response.headers:
        return await response.read()
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_REPLY_BYTES:
            # The status has already said what the provider did with the request.
            response.close()
            break
    return bytes(content[:MAX_REPLY_BYTES])


@asynccontextmanager
async def connect(
    base_url: str,
    *,
    timeout: float,  # noqa: ASYNC109  of each request, not of this call
    connections: int,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Http]:
    """Open a pool of at most ``connections`` connections to ``base_url``, for a plugin's lifespan.

    ``timeout`` (seconds) limits each request, from the wait for a free connection to the last byte of the answer.
    ``headers`` are sent with every request. Raises ConfigError when ``base_url`` is not a base URL.
    """
    check_base_url(base_url)
    async with open_session(
        connections=connections,
        timeout=timeout,
        headers={"Content-Type": "application/json", **(headers or {})},
        request_class=_Request,
    ) as session:
        yield Http(session, base_url.rstrip("/"))


def open_session(
    *,
    connections: int,
    timeout: float,
    headers: Mapping[str, str],
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
    dns_cache_ttl: int = 10,
    auto_decompress: bool = True,
    request_class: type[aiohttp.ClientRequest] = aiohttp.ClientRequest,
) -> aiohttp.ClientSession:
    """Return a session that reads no proxy variable, cookie or ``.netrc``; for the core's own HTTP clients.

    ``timeout`` (seconds) limits each request, and ``connections`` the size of the pool. ``resolver`` and ``tls``
    replace those of the system.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=connections,
            keepalive_timeout=_KEEPALIVE_TIMEOUT,
            resolver=resolver,
            ssl=tls or True,
            ttl_dns_cache=dns_cache_ttl,
        ),
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers={"User-Agent": f"gatepost/{__version__}", **headers},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=auto_decompress,
        request_class=request_class,
    )


def check_base_url(base_url: str, key: str = "base_url") -> None:
    """Raise ConfigError unless this is an http or https URL without query, fragment or credentials."""
    try:
        parts = urlsplit(base_url)
        usable = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and "@" not in parts.netloc
            # In the text, not in its parts: an empty query counts too, and urlsplit drops line breaks.
            and not any(char in "?# " or not char.isprintable() for char in base_url)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError([Fault(key, "must be a URL such as https://api.example.com")])


def expect_success(
    reply: Reply,
    *,
    code: str = "",
    misconfigured: Collection[int] = MISCONFIGURED,
    reset_header: str = "",
) -> None:
    """Return when the status is 2xx; raise the error that any other status means for the message.

    - ``misconfigured`` statuses and redirects: Unavailable, with ``misconfigured`` set;
    - 408, 425, 429 and 5xx: Unavailable, with the wait that ``retry_after`` finds in the headers;
    - any other 4xx: Rejected.

    ``code`` is the provider's own code from the body; when it is empty the HTTP status is used. ``reset_header`` is the
    one that ``retry_after`` reads.
    """
    status = reply.status
    if 200 <= status < 300:
        return
    code = code or str(status)
    if status in misconfigured:
        raise Unavailable(
            f"the provider answered {status}: check the key, the account and its credit, and base_url",
            code=code,
            misconfigured=True,
        )
    if status in {408, 425, 429} or status >= 500:
        raise Unavailable(
            f"the provider answered {status}", code=code, retry_after=retry_after(reply.headers, reset_header)
        )
    if status < 400:
        raise Unavailable(f"the provider answered {status}: check base_url", code=code, misconfigured=True)
    raise Rejected(f"the provider answered {status}", code=code)


def retry_after(headers: Mapping[str, str], reset_header: str = "") -> float | None:
    """Return the seconds that an answer asks to wait, never negative; None where it has no valid value.

    Retry-After (RFC 9110 §10.2.3) is a number of seconds or an HTTP date. Without it the header named
    ``reset_header`` is read: the time, in seconds since the epoch, at which the provider accepts requests again.
    """
    now = datetime.now(UTC)
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    if value:
        try:
            return max(0.0, (parsedate_to_datetime(value).astimezone(UTC) - now).total_seconds())
        except (ValueError, OverflowError):
            pass
    reset = headers.get(reset_header, "").strip() if reset_header else ""
    if reset.isascii() and reset.isdigit():
        return max(0.0, float(reset[:12]) - now.timestamp())
    return None
