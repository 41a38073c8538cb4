"""The token of the Vonage application: issued by the SDK, cached, and renewed before it expires."""

import asyncio
from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from vonage_jwt import JwtClient  # type: ignore[import-untyped]

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

LIFETIME = 3600
"""Seconds that a token is valid; Vonage accepts up to a day."""
RENEWAL_MARGIN = 300
"""Seconds before a token expires in which it is not used any more; no send takes that long."""


class TokenCache:
    """The current token of an application.

    ``clock`` returns seconds since the epoch. Raises ConfigError if the private key can't be used.
    """

    def __init__(self, application_id: str, private_key: Secret, clock: Callable[[], float]) -> None:
        self._client = JwtClient(application_id, _pkcs8(private_key.reveal()))
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = ""
        self._issued_at = 0.0

    async def current(self) -> str:
        """Return a token that is valid for at least RENEWAL_MARGIN seconds."""
        async with self._lock:
            # A negative age means that the clock was set back; Vonage may refuse a token from the future.
            if not (self._token and 0 <= self._clock() - self._issued_at < LIFETIME - RENEWAL_MARGIN):
                self._token = await self._issue()
            return self._token

    def discard(self, token: str) -> None:
        """Discard a token that Vonage refused, unless it is already replaced."""
        if token == self._token:
            self._token = ""

    async def _issue(self) -> str:
        self._issued_at = self._clock()
        issued = int(self._issued_at)
        # In a thread, because the SDK parses the PEM each time: about 50 ms of CPU.
        token: bytes = await asyncio.to_thread(
            self._client.generate_application_jwt, {"iat": issued, "exp": issued + LIFETIME}
        )
        return token.decode("ascii")


def _pkcs8(pem: str) -> str:
    """Return the key in the form that the SDK accepts (PKCS #8); older tools write another one.

    Without this check the SDK would take a text that ends like a file name for a path, and open it.
    """
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        problem = "is protected by a passphrase: Gatepost needs it without one"
    except (ValueError, UnsupportedAlgorithm):
        problem = "is not a private key in PEM form: give the whole file from Vonage, with all its lines"
    else:
        if isinstance(key, RSAPrivateKey):
            return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
        problem = "is not an RSA key: give the file that Vonage created for the application"
    raise ConfigError([Fault("private_key", problem)])
