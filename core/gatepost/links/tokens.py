"""The tokens in links: a message's id, encrypted and authenticated, so that a link says nothing and can't be guessed.

They need no table: AES-SIV (RFC 5297) is deterministic, so the same message always has the same link, and a repeated send
the same bytes. The kind of a link is its associated data, so a token of a pixel is no token for unsubscribing.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID

from gatepost.content_keys import key_bytes
from gatepost.model import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

# The 43rd character holds four bits of the token, and two zeros.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)


class LinkKind(StrEnum):
    """What a link is for."""

    UNSUBSCRIBE = "unsubscribe"
    OPEN = "open"


class LinkTokens:
    """Makes tokens with the first key, and reads those of each key."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        """Take keys without faults; others are left out. Without a key no token is made, and none is read."""
        self._refusal: type[Exception] = ValueError
        self._keys: list[AESSIV] = []
        for secret in secrets:
            if key := key_bytes(secret):
                self._add(key)

    def _add(self, key: bytes) -> None:
        # An extra, which most gateways do not need.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: PLC0415

        # AES-SIV with AES-256 needs 64 bytes. A derived key also does no harm where the same one encrypts the contents.
        derived = blake2b(key=key, person=b"gatepost links", digest_size=64)
        self._keys.append(AESSIV(derived.digest()))
        self._refusal = InvalidTag

    def make(self, kind: LinkKind, message_id: str) -> str:
        """Return the token of a message for this kind of link: 43 characters [A-Za-z0-9_-]."""
        sealed = self._keys[0].encrypt(UUID(message_id).bytes, [kind.encode()])
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def message_id(self, kind: LinkKind, token: str) -> str:
        """Return the id of the message that this token was made for; empty for any other text."""
        if not _TOKEN.fullmatch(token):
            return ""
        sealed = urlsafe_b64decode(token + "=")
        for key in self._keys:
            try:
                return str(UUID(bytes=key.decrypt(sealed, [kind.encode()])))
            except self._refusal:
                continue
        return ""
