"""The tokens of the Vonage application, issued by the SDK."""

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

from gatepost import wire
from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

LIFETIME = 3600
"""Seconds that a token is valid; Vonage accepts up to a day."""


class TokenIssuer:
    """Issues tokens; ``clock`` returns seconds since the epoch. Raises ConfigError for an unusable private key."""

    def __init__(self, application_id: str, private_key: Secret, clock: Callable[[], float]) -> None:
        self._client = JwtClient(application_id, _pkcs8(private_key.reveal()))
        self._clock = clock

    async def issue(self) -> wire.Token:
        """Return a new token."""
        issued = int(self._clock())
        claims = {"iat": issued, "exp": issued + LIFETIME}
        # In a thread, because the SDK parses the PEM each time: about 50 ms of CPU.
        token: bytes = await asyncio.to_thread(self._client.generate_application_jwt, claims)
        return wire.Token(Secret(token.decode("ascii")), LIFETIME)


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
