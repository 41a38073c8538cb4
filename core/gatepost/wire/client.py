"""Pooled HTTP for plugins: one deadline for each request, no repeats, and exact outcomes."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from gatepost.errors import Faults, Rejected, SendError, Unavailable, Uncertain
from gatepost.model import Secret
from gatepost.wire.connections import LostRequest, NoConnection
from gatepost.wire.dialing import Dialer
from gatepost.wire.heads import Heads, UnusableHeader, with_headers
from gatepost.wire.options import ConnectionOptions, check_base_url
from gatepost.wire.pool import Pool, Request
from gatepost.wire.replies import MAX_REPLY_BYTES, MISCONFIGURED, READING_METHODS, Reply
from gatepost.wire.tokens import TokenCache, TokenSource
from gatepost.wire.urls import parse_origin, parse_path, parse_proxy, target

Body = bytes | Sequence[tuple[str, str]]
"""The body of a request: bytes (JSON unless the headers say otherwise), or the pairs of a form."""

_LOST_BEHIND_A_PROXY = frozenset({502, 504})
"""What a proxy answers that has no good answer to a request which it has perhaps passed on."""

_FORM: Mapping[str, str] = {"Content-Type": "application/x-www-form-urlencoded"}

_NO_CONNECTION = {
    "resolve": "the host has no address",
    "connect": "the host can't be reached",
    "tls": "TLS failed",
    "proxy": "the proxy opened no tunnel",
    "timeout": "none in time",
    "closed": "the connections are closed: the plugin's lifespan has ended",
}

_LOST = {
    "timeout": "no answer in time",
    "lost": "the connection was closed",
    "bad answer": "the answer is not HTTP",
}


def _form(pairs: Sequence[tuple[str, str]], *, sends: bool) -> bytes:
    try:
        return urlencode(pairs).encode("ascii")
    except UnicodeEncodeError:
        # Raised below: this error holds the field.
        pass
    raise _unsendable("a field of the form is no valid Unicode: it has half a character", sends=sends)


def _unsendable(problem: str, *, sends: bool) -> Rejected | Unavailable:
    return Rejected(problem) if sends else Unavailable(problem)


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
        self._origin = parse_origin(base_url)
        self._base_path = parse_path(base_url)
        self._timeout = timeout
        self._connections = connections
        self._options = options
        self._proxy = parse_proxy(options.proxy.reveal()) if options.proxy else None
        # An https request goes through a tunnel, and the proxy sees nothing of it.
        self._is_forwarded = self._proxy is not None and not self._origin.tls
        self._headers = with_headers({"Content-Type": "application/json"}, headers)
        if self._proxy is not None and self._is_forwarded:
            self._headers = with_headers(self._proxy.headers, self._headers)
        self._heads: Heads
        self._authority = self._origin.authority
        self._tokens = tokens
        self._max_reply = max_reply
        self._stack = AsyncExitStack()
        self._pool: Pool | None = None

    async def __aenter__(self) -> Self:
        """Open the pool; raise ConfigError when a file of the options can't be used, and ValueError for such a header."""
        self._heads = Heads(self._headers)
        tls = await asyncio.to_thread(self._options.tls_context)
        self._pool = Pool(Dialer(tls=tls, proxy=self._proxy), self._connections)
        self._stack.push_async_callback(self._pool.close)
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

        Raises Rejected for a form or a header that can't be encoded, Unavailable when there was no connection, and Uncertain
        when the connection was lost or the deadline passed after the request had begun to leave. A request that sends no
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
            return await self._send(method, path, body, headers, self._deadline(), sends=sends)
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
        deadline = self._deadline()
        is_repeat = False
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    token: Secret = await tokens.current()
            except TimeoutError:
                raise Unavailable("no access token in time") from None
            with_token = {**(headers or {}), "Authorization": f"Bearer {token.reveal()}"}
            reply = await self._send(method, path, body, with_token, deadline, sends=sends)
            if reply.status != 401 or is_repeat:
                return reply
            tokens.discard(token)
            is_repeat = True

    def _deadline(self) -> float:
        if self._pool is None:
            raise Unavailable(f"no connection ({_NO_CONNECTION['closed']})")
        return self._pool.deadline(self._timeout)

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        deadline: float,
        *,
        sends: bool,
    ) -> Reply:
        assert self._pool is not None
        where = target(self._base_path + path)
        if self._is_forwarded:
            where = f"http://{self._authority}{where}"
        try:
            head = self._heads.write(method, where, self._authority, headers, body)
        except UnusableHeader as error:
            raise _unsendable(str(error), sends=sends) from None
        request = Request(method, head + body if body else head, self._max_reply, may_repeat=not sends)
        failure: SendError
        try:
            answer = await self._pool.exchange(self._origin, request, deadline)
        except NoConnection as error:
            failure = _no_connection(error)
        except LostRequest as error:
            # Only what is known about it is passed on: the text of an error may quote the request.
            failure = _lost(_LOST[error.kind], sends=sends)
        else:
            if not self._is_forwarded or answer.status not in _LOST_BEHIND_A_PROXY:
                return Reply(status=answer.status, headers=answer.headers, body=answer.body, sends=sends)
            failure = _lost(f"the proxy answered {answer.status}", sends=sends)
        raise failure


def _no_connection(error: NoConnection) -> Unavailable:
    if not error.status:
        return Unavailable(f"no connection ({_NO_CONNECTION[error.kind]})")
    misconfigured = error.status in MISCONFIGURED
    return Unavailable(
        f"the proxy answered {error.status}", code=str(error.status), misconfigured=misconfigured
    )


def _lost(problem: str, *, sends: bool) -> Uncertain | Unavailable:
    if sends:
        return Uncertain(f"the connection was lost after the request was out ({problem})")
    return Unavailable(f"no answer ({problem})")
