"""The application's token: minted by the SDK, kept, and renewed in time."""

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
"""Seconds that a token is good for; Vonage takes up to a day."""
RENEWED = 300
"""Seconds before its end from which a token is not used any more: no send is under way so long."""


class Tokens:
    """Mints when asked and nothing usable is kept. ``clock`` gives seconds since the epoch.

    Raises ConfigError where the private key can't be used.
    """

    def __init__(self, application_id: str, private_key: Secret, clock: Callable[[], float]) -> None:
        self._client = JwtClient(application_id, _normal_form(private_key.reveal()))
        self._clock = clock
        self._minting = asyncio.Lock()
        self._token = ""
        self._minted = 0.0

    async def current(self) -> str:
        """A token that is good for some minutes more at least."""
        async with self._minting:
            # Minted in the future: the clock was put back, and Vonage may find the token too early.
            if not (self._token and 0 <= self._clock() - self._minted < LIFETIME - RENEWED):
                self._token = await self._mint()
            return self._token

    def forget(self, token: str) -> None:
        """Vonage refused this one: mint another next time, unless that has already happened."""
        if token == self._token:
            self._token = ""

    async def _mint(self) -> str:
        self._minted = self._clock()
        issued = int(self._minted)
        # The SDK reads the PEM again each time: some 50 ms of CPU.
        token: bytes = await asyncio.to_thread(
            self._client.generate_application_jwt, {"iat": issued, "exp": issued + LIFETIME}
        )
        return token.decode("ascii")


def _normal_form(pem: str) -> str:
    """The key as the SDK takes it: PKCS #8, which is not what older tools write.

    The SDK would also take a text that ends like a file's name for a path, and open it.
    """
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        problem = "is protected by a passphrase: Gatepost needs it without one"
    except (ValueError, UnsupportedAlgorithm):
        problem = "is not a private key in PEM form: give the whole file that Vonage made, all its lines"
    else:
        if isinstance(key, RSAPrivateKey):
            return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
        problem = "is not an RSA key: give the file that Vonage made for the application"
    raise ConfigError([Fault("private_key", problem)])
