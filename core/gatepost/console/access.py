"""Who is at the console: sessions, the sign-on of a proxy, roles, and the tokens of forms."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from litestar import Request
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.response import Redirect
from sqlalchemy import Connection

from gatepost.config.networks import Address, Network, parse_address
from gatepost.errors import StoreError
from gatepost.outbox import Outbox, console_users
from gatepost.outbox.console_users import ConsoleUser, NewSession, Session
from gatepost.outbox.reader import Reader
from gatepost.web.auth import Authenticator

MAX_SESSION = 12 * 3600.0
"""Seconds after which a session ends, whatever happens."""

MAX_IDLE = 3600.0
"""Seconds after which a session ends that nobody has used. That a page refreshes itself is no use."""

TOUCH_INTERVAL = 60.0
"""Seconds between two notes in the store that a session is in use."""

REFRESH_HEADER = "hx-request"
"""What htmx sends, with which pages refresh themselves, and do nothing else."""

COOKIE = "gatepost_session"

HTTPS_COOKIE = f"__Host-{COOKIE}"
"""Where browsers use https: no other host and no page without encryption can set this one."""

CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"

_NO_CHANGES = frozenset({"/logout", "/messages"})
"""What a viewer may post too: the search is a post only so that no log has what was typed."""

ConsoleRequest = Request[Any, Any, Any]


class SignedIn(NamedTuple):
    """The user who makes a request."""

    user: ConsoleUser
    csrf: str
    """What each form and each request that changes something must send."""
    token: str = ""
    """Of the session; empty where a proxy has signed the user in."""

    @property
    def actor(self) -> str:
        """The user's name in the audit log."""
        return f"{self.user.name} (console)"


class Access:
    """Finds out who makes a request, and begins and ends sessions."""

    def __init__(
        self,
        outbox: Outbox,
        reader: Reader,
        *,
        user_header: str = "",
        user_header_networks: Sequence[Network] = (),
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self._outbox = outbox
        self._reader = reader
        self._user_header = user_header.lower()
        self._networks = tuple(user_header_networks)
        self._addresses = Authenticator({}, trusted_proxies)
        # For users without a session, whose proxy signs them in at each request.
        self._csrf_key = secrets.token_bytes(32)

    async def find(self, request: ConsoleRequest) -> SignedIn | None:
        """Return who makes this request; None for nobody. Raises StoreError."""
        if name := self._name_from_proxy(request):
            user = await self._reader.read(lambda connection: console_users.find_user(connection, name))
            return SignedIn(user, _mac(self._csrf_key, name)) if user else None
        token = _token(request)
        if not token:
            return None
        found = await self._reader.read(partial(self._find_session, token))
        if found is None:
            return None
        session, now = found
        if REFRESH_HEADER not in request.headers and now - session.seen_at >= TOUCH_INTERVAL * 1000:
            # A store that takes no changes now is no reason to show no page.
            with suppress(StoreError):
                await self._outbox.change(console_users.touch_session, token)
        return SignedIn(session.user, _mac(token.encode(), "csrf"), token)

    def _name_from_proxy(self, request: ConsoleRequest) -> str:
        """Return the user whom a listed proxy names; a header from anywhere else is of no meaning."""
        if not self._user_header or request.client is None:
            return ""
        address = parse_address(request.client.host)
        if address is None or not any(address in network for network in self._networks):
            return ""
        values = request.headers.getall(self._user_header, [])
        return values[0] if len(values) == 1 else ""

    def _find_session(self, token: str, connection: Connection) -> tuple[Session, int] | None:
        """Return the session of a token and the present time; None for no session, or for one that has ended."""
        now = self._reader.clock(connection)
        session = console_users.find_session(connection, token, now, MAX_IDLE)
        return (session, now) if session else None

    def address_of(self, request: ConsoleRequest) -> Address | None:
        """Return the address of the browser: what a trusted proxy says, or else that of the connection."""
        return self._addresses.client_address(
            request.client and request.client.host, request.scope["headers"]
        )

    async def begin(self, request: ConsoleRequest, user: ConsoleUser) -> str:
        """Begin a session of a user whose password was right; return the value of ``Set-Cookie``.

        It is empty where the user was changed or removed since then.
        """
        session = NewSession(secrets.token_urlsafe(32), user, MAX_SESSION)
        has_begun = await self._outbox.change(console_users.begin_session, session)
        return _cookie(request, session.token, round(MAX_SESSION)) if has_begun else ""

    async def end(self, request: ConsoleRequest) -> str:
        """End the session; return the value of ``Set-Cookie``."""
        if request.user.token:
            await self._outbox.change(console_users.end_session, request.user.token)
        return _cookie(request, "", 0)


def _token(request: ConsoleRequest) -> str:
    """Return the token of the session that a browser has; empty for none."""
    token = request.cookies.get(HTTPS_COOKIE, "")
    # Behind a proxy that does TLS it can't be known of each request whether the browser uses https.
    return token or ("" if request.url.scheme == "https" else request.cookies.get(COOKIE, ""))


def _cookie(request: ConsoleRequest, token: str, seconds: int) -> str:
    # A proxy that does TLS calls by http, but a browser says in each form what it has in its address bar.
    is_https = request.headers.get("origin", request.url.scheme).startswith("https")
    name, secure = (HTTPS_COOKIE, "; Secure") if is_https else (COOKIE, "")
    return f"{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}"


def _mac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


async def require_user(request: ConsoleRequest, access: Access) -> Redirect | None:
    """Let only users in who have signed in, and let only operators change something.

    Return a redirection to the page on which they can sign in. Raises NotAuthorizedException and
    PermissionDeniedException, whose ``detail`` is for the user; then nothing was done.
    """
    signed_in = await access.find(request)
    if signed_in is None:
        if request.method == "GET" and REFRESH_HEADER not in request.headers:
            return Redirect("/login", query_params={"next": _path(request)})
        raise NotAuthorizedException("Your session has ended, and nothing was done. Sign in again.")
    request.scope["user"] = signed_in
    if request.method not in {"GET", "HEAD"}:
        await _check_change(request, signed_in)
    return None


async def _check_change(request: ConsoleRequest, signed_in: SignedIn) -> None:
    token = request.headers.get(CSRF_HEADER) or str((await request.form()).get(CSRF_FIELD, ""))
    if not hmac.compare_digest(token.encode(), signed_in.csrf.encode()):
        raise PermissionDeniedException(
            "This form is of an earlier session, so nothing was done. Go back, reload the page and try again."
        )
    if not signed_in.user.may_change and request.url.path not in _NO_CHANGES:
        raise PermissionDeniedException(
            "You may look, and not change anything: that needs the role operator."
        )


def _path(request: ConsoleRequest) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")
