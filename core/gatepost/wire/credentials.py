"""Headers with credentials. Pure functions."""

from base64 import b64encode
from collections.abc import Mapping

from gatepost.model import Secret


def bearer(token: Secret) -> Mapping[str, str]:
    """Return the Authorization header with a bearer token or an API key (RFC 6750)."""
    return {"Authorization": f"Bearer {token.reveal()}"}


def basic_auth(user: str, password: Secret) -> Mapping[str, str]:
    """Return the Authorization header with a user name, which has no colon, and a password (RFC 7617, in UTF-8)."""
    login = f"{user}:{password.reveal()}".encode("utf-8", "replace")
    return {"Authorization": f"Basic {b64encode(login).decode('ascii')}"}
