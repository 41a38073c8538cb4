"""Access tokens: kept, renewed before they end, and fetched once at a time for all senders."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import msgspec

from gatepost.errors import Rejected, SendError, Unavailable
from gatepost.model import Secret
from gatepost.wire.options import key_faults

_MAX_MARGIN = 300.0
"""Seconds before the end of a long-lived token from which on a new one is fetched."""

_FETCH_TIMEOUT = 60.0
"""Seconds after which a fetch is given up. Senders give up earlier, and the next one begins a new fetch."""

_RENEWAL_PAUSE = 5.0
"""Seconds until the next renewal after one that failed. Without it each send would ask an endpoint that is down."""


class Token(msgspec.Struct, frozen=True):
    """An access token and the seconds for which it is valid from now on."""

    value: Secret
    lifetime: float


TokenSource = Callable[[], Awaitable[Token]]
"""Fetches a new token; raises Unavailable where there is none now."""

# The cache for which the current task, or the task that it was started in, fetches a token.
_fetching_for: ContextVar["TokenCache | None"] = ContextVar("gatepost_fetching_token_for", default=None)


class TokenCache:
    """The current token of a provider. A new one is fetched when a fifth of its life, or five minutes, are left."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token: Secret | None = None
        self._ends_at = self._renew_at = 0.0
        self._fetch: asyncio.Task[Secret] | None = None

    @property
    def is_fetching_here(self) -> bool:
        """Whether the current task fetches a token for this cache; its own requests have none."""
        return _fetching_for.get() is self

    async def current(self) -> Secret:
        """Return a valid token; the one that is being renewed is used until its end.

        Raises Unavailable, as nothing was sent.
        """
        now = asyncio.get_running_loop().time()
        if self._token is not None and now < self._renew_at:
            return self._token
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._renew())
            self._fetch.add_done_callback(self._fetched)
        if self._token is not None and now < self._ends_at:
            return self._token
        # A sender that is cancelled leaves the fetch to the others.
        return await asyncio.shield(self._fetch)

    def discard(self, token: Secret) -> None:
        """Discard a token that the provider refused, unless it is already replaced."""
        if token == self._token:
            self._token = None

    async def close(self) -> None:
        """Stop a fetch."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])

    async def _renew(self) -> Secret:
        _fetching_for.set(self)
        asked_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT):
                token = _checked(await self._source())
        except Unavailable:
            raise
        except SendError as error:
            # Such as Rejected for a wrong client secret: for a message it only means that it was not sent.
            problem = f"no access token: {error.reason}"
            raise Unavailable(problem, code=error.code, misconfigured=isinstance(error, Rejected)) from None
        except Exception as error:
            # Such as a KeyError for an answer of another form: nothing was sent, and Uncertain would hold the message.
            problem = f"no access token: {type(error).__name__} while it was fetched; check the token's URL"
            raise Unavailable(problem) from error
        self._token = token.value
        self._ends_at = asked_at + token.lifetime
        self._renew_at = self._ends_at - min(_MAX_MARGIN, token.lifetime / 5)
        return token.value

    def _fetched(self, fetch: asyncio.Task[Secret]) -> None:
        self._fetch = None
        # Read, so that asyncio does not log an error that no sender waited for.
        if not fetch.cancelled() and fetch.exception() is not None:
            self._renew_at = min(self._ends_at, fetch.get_loop().time() + _RENEWAL_PAUSE)


def _checked(token: Token) -> Token:
    """Return a copy of a token; raise an error of any kind for what a provider may have answered in its place."""
    if any(key_faults(token=token.value)):
        raise ValueError("no header can hold the token")
    return Token(token.value, float(token.lifetime))
