"""Headers with credentials, and the settings and checks of a user name with a password. Pure functions."""

import hmac
from base64 import b64encode
from collections.abc import Iterator, Mapping

import msgspec

from gatepost.errors import BadSignature, Fault
from gatepost.model import Secret, WebhookRequest


class Login(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user name and a password (RFC 7617), as a setting.

    In the file: ``webhook_basic = { username = "provider", password = "env:WEBHOOK_PASSWORD" }``.
    """

    username: str
    password: Secret

    def faults(self, key: str) -> Iterator[Fault]:
        """Yield what is wrong with the setting ``key``, which holds this."""
        if not self.password:
            yield Fault(f"{key}.password", "is empty")
        if ":" in self.username:
            yield Fault(f"{key}.username", "can't have a colon")


def bearer(token: Secret) -> Mapping[str, str]:
    """Return the Authorization header with a bearer token or an API key (RFC 6750)."""
    return {"Authorization": f"Bearer {token.reveal()}"}


def basic_auth(user: str, password: Secret) -> Mapping[str, str]:
    """Return the Authorization header with a user name, which has no colon, and a password (RFC 7617, in UTF-8)."""
    login = f"{user}:{password.reveal()}".encode("utf-8", "replace")
    return {"Authorization": f"Basic {b64encode(login).decode('ascii')}"}


def expect_basic_auth(request: WebhookRequest, login: Login) -> None:
    """Raise BadSignature unless a webhook comes with this user name and password."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = basic_auth(login.username, login.password)["Authorization"]
    expect_same(f"{scheme.title()} {given.strip()}", expected, "the user name or the password")


def expect_same(given: str, expected: str, what: str) -> None:
    """Raise BadSignature, which says ``what`` is missing or wrong, unless the texts are equal and not empty.

    Takes as long wherever they differ.
    """
    if not expected or not hmac.compare_digest(
        given.encode("utf-8", "replace"), expected.encode("utf-8", "replace")
    ):
        raise BadSignature(f"{what} is missing or wrong")
