"""Pooled HTTP for plugins: one deadline for each request, no repeats, and exact outcomes."""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import aiohttp

from gatepost.errors import Faults, Rejected, Unavailable, Uncertain
from gatepost.model import Secret
from gatepost.wire.options import ConnectionOptions, check_base_url
from gatepost.wire.replies import MAX_REPLY_BYTES, MISCONFIGURED, READING_METHODS, Reply
from gatepost.wire.sessions import open_session, read_reply, with_headers
from gatepost.wire.tokens import TokenCache, TokenSource
from gatepost.wire.urls import parse_url

Body = bytes | Sequence[tuple[str, str]]
"""The body of a request: bytes (JSON unless the headers say otherwise), or the pairs of a form."""

_LOST_BEHIND_A_PROXY = frozenset({502, 504})
"""What a proxy answers that has no good answer to a request which it has perhaps passed on."""

_LARGE_BODY = 1_048_576
"""Bytes above which aiohttp warns about a body that is not a file."""

_FORM: Mapping[str, str] = {"Content-Type": "application/x-www-form-urlencoded"}


class _Departure:
    """Whether a request has begun to leave, and whether it may leave again."""

    __slots__ = ("begun", "sends")

    def __init__(self, *, sends: bool) -> None:
        self.begun = False
        self.sends = sends

    def lost(self, kind: str) -> Uncertain | Unavailable:
        """Return the error for a request that got no answer."""
        if self.begun and self.sends:
            return Uncertain(f"the connection was lost after the request was out ({kind})")
        return Unavailable(f"no answer ({kind})" if self.begun else f"no connection ({kind})")


# The current task's.
_departure: ContextVar[_Departure] = ContextVar("gatepost_departure")


class _Request(aiohttp.ClientRequest):
    """A request that records when it has a connection; the tracing of aiohttp would take 7 % of a send's CPU."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        departure = _departure.get()
        if departure.begun and departure.sends:
            # aiohttp would send a GET, PUT or DELETE again when a reused connection drops.
            raise aiohttp.ServerDisconnectedError
        departure.begun = True
        return await super().send(conn)


def _form(pairs: Sequence[tuple[str, str]], *, sends: bool) -> bytes:
    try:
        return urlencode(pairs).encode("ascii")
    except UnicodeEncodeError:
        # Raised below: this error holds the field.
        pass
    error = Rejected if sends else Unavailable
    raise error("a field of the form is no valid Unicode: it has half a character")


def _payload(body: bytes | None) -> io.BytesIO | bytes | None:
    # aiohttp wants a large body as a file, so that copying it does not block the event loop.
    return io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY else body


def connect(
    base_url: str,
    *,
    timeout: float,
    connections: int,
    headers: Mapping[str, str] | None = None,
    options: ConnectionOptions | None = None,
    token: TokenSource | None = None,
    max_reply: int = MAX_REPLY_BYTES,
    key: str = "base_url",
) -> "Http":
    """Return a client with a pool of at most ``connections`` connections to ``base_url``; opens nothing yet.

    ``timeout`` (seconds) limits each request, from the wait for a token or a free connection to the last byte of the
    answer. ``headers`` are sent with every request. ``token`` fetches an access token, which is sent as a bearer token
    with each request that has no Authorization header of its own: it is kept, renewed before it ends, and once more
    after a 401, whose request is then repeated. Its own requests through this client have none. ``max_reply`` is how many
    bytes of an answer's body are read. ``key`` is the setting that ``base_url`` comes from.

    Raises ConfigError, with keys of the plugin's table, when ``base_url`` is not a base URL or ``options`` can't be used.
    """
    options = options or ConnectionOptions()
    faults = Faults(options.faults(base_url, key))
    with faults:
        check_base_url(base_url, key)
    faults.expect_none()
    tokens = TokenCache(token) if token else None
    return Http(base_url, timeout, connections, headers or {}, options, tokens, max_reply)


class Http:
    """A pool of connections to one provider, made by ``connect`` and open inside of it.

    Use it as an asynchronous context manager, or return ``lifespan()`` from the hook of that name.
    """

    def __init__(
        self,
        base_url: str,
        timeout: float,
        connections: int,
        headers: Mapping[str, str],
        options: ConnectionOptions,
        tokens: TokenCache | None,
        max_reply: int = MAX_REPLY_BYTES,
    ) -> None:
        # In ASCII, also where the host is not: what follows it goes out as the plugin encoded it.
        self._base_url = str(parse_url(base_url)).rstrip("/")
        self._timeout = timeout
        self._connections = connections
        self._headers = with_headers({"Content-Type": "application/json"}, headers)
        self._options = options
        # An https request goes through a tunnel, and the proxy sees nothing of it.
        self._is_forwarded = options.proxy is not None and base_url.startswith("http:")
        self._tokens = tokens
        self._max_reply = max_reply
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool; raise ConfigError when a file of the options can't be used."""
        tls = await asyncio.to_thread(self._options.tls_context)
        proxy = self._options.proxy
        self._session = await self._stack.enter_async_context(
            open_session(
                connections=self._connections,
                timeout=self._timeout,
                headers=self._headers,
                tls=tls,
                proxy=proxy.reveal() if proxy else None,
                request_class=_Request,
            )
        )
        if self._tokens is not None:
            self._stack.push_async_callback(self._tokens.close)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep the pool open, as a plugin's hook ``lifespan`` does."""
        async with self:
            yield

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a GET to ``base_url + path``, as ``request`` does."""
        return await self.request("GET", path, headers=headers)

    async def post(
        self, path: str, body: Body | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a POST, as ``request`` does."""
        return await self.request("POST", path, body=body, headers=headers)

    async def put(
        self, path: str, body: Body | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a PUT, as ``request`` does."""
        return await self.request("PUT", path, body=body, headers=headers)

    async def patch(
        self, path: str, body: Body | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a PATCH, as ``request`` does."""
        return await self.request("PATCH", path, body=body, headers=headers)

    async def delete(self, path: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a DELETE, as ``request`` does."""
        return await self.request("DELETE", path, headers=headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        sends: bool | None = None,
    ) -> Reply:
        """Send one request to ``base_url + path`` and read the answer, whatever its status.

        A ``path`` with its query is sent as it is: encode what you put into it with ``urllib.parse.quote(value, safe="")``.

        Pairs in ``body`` become a form in UTF-8 (``application/x-www-form-urlencoded``), in their order.

        ``sends`` is whether the request sends a message. By default every request does but a GET or HEAD: set it for
        the GET of an API that takes messages in the query.

        Raises Rejected for a form that can't be encoded, Unavailable when there was no connection, and Uncertain when
        the connection was lost or the deadline passed after the request had begun to leave. A request that sends no
        message raises only Unavailable, and may leave a second time when a reused connection drops. Every other one
        leaves at most once.
        """
        method = method.upper()
        if sends is None:
            sends = method not in READING_METHODS
        if body is not None and not isinstance(body, bytes):
            body, headers = _form(body, sends=sends), {**_FORM, **(headers or {})}
        tokens = self._tokens
        if tokens is None or tokens.is_fetching_here or (headers and "Authorization" in headers):
            return await self._send(method, path, body, headers, self._timeout, sends=sends)
        return await self._send_with_token(tokens, method, path, body, headers, sends=sends)

    async def _send_with_token(
        self,
        tokens: TokenCache,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        *,
        sends: bool,
    ) -> Reply:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        is_repeat = False
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    token: Secret = await tokens.current()
            except TimeoutError:
                raise Unavailable("no access token in time") from None
            with_token = {**(headers or {}), "Authorization": f"Bearer {token.reveal()}"}
            # For aiohttp no time at all would be any time.
            if (remaining := deadline - loop.time()) <= 0:
                raise Unavailable("no access token in time")
            reply = await self._send(method, path, body, with_token, remaining, sends=sends)
            if reply.status != 401 or is_repeat:
                return reply
            tokens.discard(token)
            is_repeat = True

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        timeout: float,  # noqa: ASYNC109  of the session
        *,
        sends: bool,
    ) -> Reply:
        session = self._session
        if session is None or session.closed:
            raise Unavailable("no connection (the connections are closed: the plugin's lifespan has ended)")
        departure = _Departure(sends=sends)
        context = _departure.set(departure)
        try:
            async with session.request(
                method,
                parse_url(self._base_url + path),
                data=_payload(body),
                headers=headers,
                allow_redirects=False,
                timeout=session.timeout if timeout == self._timeout else aiohttp.ClientTimeout(total=timeout),
            ) as response:
                reply = await read_reply(response, sends=sends, limit=self._max_reply)
        except aiohttp.ClientHttpProxyError as error:
            problem = f"the proxy answered {error.status}"
            misconfigured = error.status in MISCONFIGURED
            raise Unavailable(problem, code=str(error.status), misconfigured=misconfigured) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Only the error's type is passed on: its text may quote the request.
            kind = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        else:
            if not self._is_forwarded or reply.status not in _LOST_BEHIND_A_PROXY:
                return reply
            kind = f"the proxy answered {reply.status}"
        finally:
            _departure.reset(context)
        raise departure.lost(kind)
