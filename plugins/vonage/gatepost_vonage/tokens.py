"""The tokens of the Vonage application, issued by the SDK."""

from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from vonage_jwt import JwtClient  # type: ignore[import-untyped]

from gatepost import wire
from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

LIFETIME = 3600  # seconds that a token is valid; Vonage accepts up to a day


def new_token(application_id: str, key: RSAPrivateKey, issued: int) -> wire.Token:
    """Return a token that is valid from ``issued``, in seconds since the epoch."""
    # The SDK passes a key object on to PyJWT. It would parse a text for each token: 50 ms of CPU.
    client = JwtClient(application_id, key)
    token: bytes = client.generate_application_jwt({"iat": issued, "exp": issued + LIFETIME})
    return wire.Token(Secret(token.decode("ascii")), LIFETIME)


@lru_cache(maxsize=16)
def parse_key(pem: Secret) -> RSAPrivateKey:
    """Return the private key; raise ConfigError for an unusable one.

    Cached, because the check of a key takes 50 ms of CPU, and all instances of an application have the same one.
    """
    try:
        key = load_pem_private_key(pem.reveal().encode(), password=None)
    except TypeError:
        problem = "is protected by a passphrase: Gatepost needs it without one"
    except (ValueError, UnsupportedAlgorithm):
        problem = "is not a private key in PEM form: give the whole file from Vonage, with all its lines"
    else:
        if isinstance(key, RSAPrivateKey):
            return key
        problem = "is not an RSA key: give the file that Vonage created for the application"
    raise ConfigError([Fault("private_key", problem)])
