"""Access tokens by client credentials (RFC 6749 §4.4): the request, and the answer. ``gatepost.wire`` keeps the token."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote_plus

import msgspec

from gatepost import wire
from gatepost.errors import Unavailable
from gatepost.model import Secret
from gatepost_accounts.settings import OAuth

TokenSource = Callable[[], Awaitable[wire.Token]]

DEFAULT_LIFETIME = 300.0
"""Seconds for which a token is used whose answer does not say how long it is valid; after a 401 another one is fetched."""


class _Token(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: int | float | str | None = None


async def fetch_token(http: wire.Http, path: str, oauth: OAuth) -> wire.Token:
    """Return a new token; raises Unavailable, with the server's code of the error."""
    headers = {"Accept": "application/json"}
    form = [("grant_type", "client_credentials")]
    form += [(name, value) for name in ("scope", "audience") if (value := getattr(oauth, name))]
    if oauth.credentials == "header":
        # RFC 6749 §2.3.1: both are encoded as in a form first.
        secret = Secret(quote_plus(oauth.client_secret.reveal()))
        headers |= wire.basic_auth(quote_plus(oauth.client_id), secret)
    else:
        form += [("client_id", oauth.client_id), ("client_secret", oauth.client_secret.reveal())]
    reply = await http.request("POST", path, body=form, headers=headers, sends=False)
    if reply.status != 200:
        raise _refused(reply)
    token = reply.decode(_Token)
    if token is None or token.token_type.lower() != "bearer":
        raise Unavailable("no access token: the answer holds none of the type Bearer; check oauth.token_url")
    return wire.Token(Secret(token.access_token), _lifetime(token.expires_in))


def _refused(reply: wire.Reply) -> Unavailable:
    """Return the error for an answer without a token: RFC 6749 §5.2, with its word such as invalid_client."""
    content: Any = reply.json()
    code = wire.safe_code(content.get("error")) if isinstance(content, dict) else ""
    is_final = 300 <= reply.status < 500 and reply.status not in {408, 425, 429}
    advice = ": check oauth" if is_final else ""
    return Unavailable(
        f"no access token: the authorization server answered {reply.status}{advice}",
        code=code or str(reply.status),
        retry_after=wire.retry_after(reply.headers),
        misconfigured=is_final,
    )


def _lifetime(expires_in: float | str | None) -> float:
    """Return the seconds of validity; some servers write the number as a text."""
    if isinstance(expires_in, str):
        expires_in = float(expires_in) if expires_in.isascii() and expires_in[:9].isdigit() else None
    return DEFAULT_LIFETIME if expires_in is None else max(0.0, float(expires_in))
