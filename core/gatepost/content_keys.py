"""Encryption of what the store holds of contents, by the keys of ``store.content_keys``.

The first key encrypts, and each of them decrypts. An encrypted content is

    MARK | id of the key, 4 bytes | salt, 16 | nonce, 12 | AES-256-GCM of the content, with its tag of 16

The message's id is its associated data: the content of one message can't be opened as that of another. AES-GCM is not
used with the key itself but with one derived from key and salt. Each process has salts of its own and takes a new one
after RENEWAL contents, so nonces may be random: NIST SP 800-38D allows 2^32 random ones for each key.
"""

import os
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from gatepost.errors import Fault
from gatepost.model import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK = b"E"
"""The first byte of an encrypted content. A plain one is a msgpack map, whose first byte is 0x80 to 0x8f; no single
changed bit makes one of the other."""

RENEWAL = 2**24
"""Contents that are encrypted with one derived key."""

MAX_CIPHERS = 256
"""Derived keys of one key that are kept ready. A store has as many as processes have written what waits in it."""

_KEY_SIZE = 32
_ID, _SALT, _NONCE = slice(1, 5), slice(5, 21), slice(21, 33)
_HOW = "must be 32 random bytes in base64 or hexadecimal, as `openssl rand -base64 32` makes them"


class ContentKeyMissing(Exception):
    """A content is encrypted with a key that is not configured; the text says so."""

    def __init__(self, message_id: str, key: str) -> None:
        """``key`` is the key's id, as text."""
        super().__init__(
            f"the content of message {message_id} is encrypted with the key {key}, which store.content_keys does "
            "not have: put it back, as the last entry if it is an old one"
        )
        self.key = key


class Cipher(NamedTuple):
    """AES-256-GCM with one derived key, and what it raises for what it did not encrypt."""

    aes: "AESGCM"
    refusal: type[Exception]


def key_faults(name: str, secrets: Sequence[Secret]) -> Iterator[Fault]:
    """Yield the faults of the keys in the setting ``name``."""
    if secrets and not find_spec("cryptography"):
        yield Fault(name, "encryption needs cryptography: from your checkout, pip install '.[encryption]'")
    found: list[bytes] = []
    for position, secret in enumerate(secrets, start=1):
        key = key_bytes(secret)
        if key is None:
            yield Fault(name, f"entry {position} {_HOW}")
        elif key in found:
            yield Fault(name, f"entry {position} is the same key as an entry before it")
        else:
            found.append(key)


def key_bytes(secret: Secret) -> bytes | None:
    """Return the key that a text stands for; None where it is none."""
    text = secret.reveal()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * _KEY_SIZE else a2b_base64(text, strict_mode=True)
    except (ValueError, NotBase64):
        return None
    return key if len(key) == _KEY_SIZE else None


def key_of(stored: bytes) -> str:
    """Return the id of the key of a stored content, or of its first bytes; empty where it is not encrypted."""
    return stored[_ID].hex() if stored.startswith(MARK) else ""


class ContentKey:
    """One key, and what is derived from it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.id = blake2b(key=key, person=b"gatepost key id", digest_size=4).digest()
        """Names the key where it was used. It tells nothing about the key."""
        self._fingerprints = blake2b(key=key, person=b"gatepost repeats", digest_size=32)
        self.cipher = lru_cache(MAX_CIPHERS)(self._cipher)
        """Returns the cipher for a salt."""

    def fingerprint(self, fingerprint: bytes) -> bytes:
        """Return a hash of a fingerprint that can't be computed without the key."""
        keyed = self._fingerprints.copy()
        keyed.update(fingerprint)
        return keyed.digest()

    def _cipher(self, salt: bytes) -> Cipher:
        # An extra, which most gateways do not need.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        derived = blake2b(key=self._key, salt=salt, person=b"gatepost content", digest_size=_KEY_SIZE)
        return Cipher(AESGCM(derived.digest()), InvalidTag)


class ContentKeys:
    """The configured keys: encrypts what goes into the store, and decrypts what comes out of it."""

    def __init__(self, secrets: Sequence[Secret] = ()) -> None:
        """Take keys without faults; others are left out. Without a key nothing is encrypted."""
        keys = [ContentKey(key) for key in map(key_bytes, secrets) if key is not None]
        self._first = keys[0] if keys else None
        self._by_id = {key.id: key for key in keys}
        self._left = 0
        self._head = b""
        self._aes: AESGCM

    @property
    def ids(self) -> list[str]:
        """The ids of the keys, as texts; the first one encrypts."""
        return [one.hex() for one in self._by_id]

    def encrypt(self, message_id: str, content: bytes) -> bytes:
        """Return the content as it is stored."""
        if self._first is None:
            return content
        if not self._left:
            self._renew(self._first)
        self._left -= 1
        nonce = os.urandom(12)
        return self._head + nonce + self._aes.encrypt(nonce, content, message_id.encode())

    def decrypt(self, message_id: str, stored: bytes) -> bytes:
        """Return a content from its stored form; what was stored without a key is returned as it is.

        Raises ContentKeyMissing, and ValueError for what was not encrypted for this message, or was changed since.
        """
        if not stored.startswith(MARK):
            return stored
        key = self._by_id.get(stored[_ID])
        if key is None:
            raise ContentKeyMissing(message_id, key_of(stored))
        cipher = key.cipher(stored[_SALT])
        try:
            return cipher.aes.decrypt(stored[_NONCE], stored[33:], message_id.encode())
        except cipher.refusal:
            raise ValueError("not the content that was stored for this message") from None

    def fingerprint(self, fingerprint: bytes) -> bytes:
        """Return a fingerprint as it is stored: by a plain hash a guess of the content could be tested."""
        return self._first.id + self._first.fingerprint(fingerprint) if self._first else fingerprint

    def is_repeat(self, stored: bytes, fingerprint: bytes) -> bool:
        """Return whether the fingerprint is the stored one.

        Also where that can't be told because its key is gone: that the uid is the same says enough.
        """
        if len(stored) == len(fingerprint):
            return stored == fingerprint
        key = self._by_id.get(stored[:4])
        return key is None or stored[4:] == key.fingerprint(fingerprint)

    def _renew(self, key: ContentKey) -> None:
        salt = os.urandom(16)
        self._left, self._head, self._aes = RENEWAL, MARK + key.id + salt, key.cipher(salt).aes
