"""The private keys of DKIM: read from the settings, with what is wrong with each, and with their DNS records."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from gatepost.errors import Fault
from gatepost_smtp.addresses import is_domain
from gatepost_smtp.dkim import PrivateKey, Signer
from gatepost_smtp.settings import DkimKey, DkimKeys

_MIN_RSA_BITS, _SAFE_RSA_BITS, _MAX_RSA_BITS = 1024, 2048, 4096
"""What every receiver must verify (RFC 8301), and below what many count a signature for nothing."""
_NEW_KEY = "`gatepost dkim new-key DOMAIN` makes one"


class LoadedKeys(NamedTuple):
    """The keys of an instance, with all that is wrong with them."""

    signers: Mapping[str, Sequence[Signer]]
    """By domain, in lower case."""
    faults: Sequence[Fault]
    warnings: Sequence[Fault]
    """Keys that sign, and are probably not what the operator wants."""


def load_keys(keys: DkimKeys) -> LoadedKeys:
    """Read the keys of the settings."""
    signers: dict[str, list[Signer]] = {}
    faults: list[Fault] = []
    warnings: list[Fault] = []
    places: set[str] = set()
    for path, domain, own in _listed(keys):
        faults += _name_faults(path, domain, own.selector)
        try:
            private = _private_key(own.key.reveal())
        except ValueError as error:
            faults.append(Fault(f"{path}.key", str(error)))
            continue
        signer = _signer(domain.lower(), own.selector.lower(), private)
        if signer.place in places:
            faults.append(Fault(f"{path}.selector", "is the selector of another key of this domain"))
        places.add(signer.place)
        signers.setdefault(signer.domain, []).append(signer)
        warnings += _size_warnings(private, path)
    if not faults:
        warnings += _algorithm_warnings(signers)
    return LoadedKeys(signers, faults, warnings)


def _listed(keys: DkimKeys) -> Iterator[tuple[str, str, DkimKey]]:
    """Yield for each key its path in the table of the plugin, its domain and the key."""
    for domain, own in keys.items():
        several = own if isinstance(own, list) else [own]
        for position, one in enumerate(several, start=1):
            yield f"dkim.{domain}" + (f"[{position}]" if several is own else ""), domain, one


def dns_record(key: PrivateKey) -> str:
    """Return the text of the DNS record that publishes the key."""
    return f"v=DKIM1; k={key_type(key)}; p={public_keys(key)[0]}"


def key_type(key: PrivateKey) -> str:
    """Return the ``k=`` of a key's DNS record."""
    return "rsa" if isinstance(key, RSAPrivateKey) else "ed25519"


def public_keys(key: PrivateKey) -> list[str]:
    """Return each ``p=`` with which a DNS record publishes the key, the usual one first."""
    forms = [(Encoding.Raw, PublicFormat.Raw)]
    if isinstance(key, RSAPrivateKey):
        # The second is what RFC 6376 says; its examples and everybody have the first.
        forms = [(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), (Encoding.DER, PublicFormat.PKCS1)]
    return [base64.b64encode(key.public_key().public_bytes(*form)).decode() for form in forms]


def _signer(domain: str, selector: str, key: PrivateKey) -> Signer:
    if isinstance(key, RSAPrivateKey):
        return Signer(
            domain, selector, key, "rsa-sha256", lambda headers: key.sign(headers, PKCS1v15(), SHA256())
        )
    # RFC 8463 §3: what Ed25519 signs is the hash.
    return Signer(
        domain,
        selector,
        key,
        "ed25519-sha256",
        lambda headers: key.sign(hashlib.sha256(headers).digest()),
    )


def _name_faults(path: str, domain: str, selector: str) -> Iterator[Fault]:
    if not is_domain(domain):
        yield Fault(path, "must be a domain (in ASCII: xn--…)")
    if not is_domain(selector):
        yield Fault(f"{path}.selector", "must be a DNS label, such as gp1")


def _private_key(pem: str) -> PrivateKey:
    """Return a private key from its PEM; the text of a ValueError says what is wrong, and quotes nothing."""
    try:
        key = load_pem_private_key(pem.encode("ascii", "replace"), None)
    except TypeError:
        raise ValueError(
            f"is encrypted with a password: store it without one, readable by Gatepost only; {_NEW_KEY}"
        ) from None
    except UnsupportedAlgorithm:
        raise ValueError(f"is a key of an unknown kind: DKIM has RSA and Ed25519; {_NEW_KEY}") from None
    except ValueError:
        if "PUBLIC KEY" in pem:
            raise ValueError(
                "is a public key: Gatepost signs with the private key that belongs to it"
            ) from None
        raise ValueError(
            f"can't be read as a private key in PEM, written as file:/path; {_NEW_KEY}"
        ) from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _MIN_RSA_BITS:
            raise ValueError(f"has {key.key_size} bits, and receivers ignore RSA keys under 1024: {_NEW_KEY}")
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise ValueError(f"is neither an RSA nor an Ed25519 key, and DKIM has no others: {_NEW_KEY}")


def _size_warnings(key: PrivateKey, path: str) -> Iterator[Fault]:
    if isinstance(key, RSAPrivateKey) and key.key_size < _SAFE_RSA_BITS:
        yield Fault(
            f"{path}.key", f"has only {key.key_size} bits: replace it by one of 2048, with a new selector"
        )
    if isinstance(key, RSAPrivateKey) and key.key_size > _MAX_RSA_BITS:
        yield Fault(f"{path}.key", f"has {key.key_size} bits, and receivers need not verify more than 4096")


def _algorithm_warnings(signers: Mapping[str, Sequence[Signer]]) -> Iterator[Fault]:
    for domain, own in signers.items():
        if not any(isinstance(signer.key, RSAPrivateKey) for signer in own):
            yield Fault(
                "dkim",
                f"{domain} has only Ed25519 keys, which many receivers can't verify: add an RSA key beside it",
            )
