"""DKIM signatures (RFC 6376, RFC 8463): relaxed/relaxed canonicalization, RSA and Ed25519. Pure functions."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_OVERSIGNED = (
    *("from", "to", "cc", "subject", "date", "reply-to", "message-id"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)
"""Headers that no server may add, whether or not the mail has them (RFC 6376 §8.15)."""
_OVERSIGNED_IF_PRESENT = ("list-unsubscribe", "list-unsubscribe-post")
"""Headers that no server may add a second time. A relay that has an unsubscribe link of its own may add the first."""
_MAX_LINE_LENGTH = 76
_CACHED_NAMES = 64

PrivateKey: TypeAlias = "RSAPrivateKey | Ed25519PrivateKey"


class Signer(NamedTuple):
    """A private key with the place of its public key: ``selector._domainkey.domain``."""

    domain: str
    selector: str
    key: PrivateKey
    algorithm: str
    """The value of ``a=``."""
    sign: Callable[[bytes], bytes]
    """Returns the key's signature of canonical headers."""

    @property
    def place(self) -> str:
        """The name of the DNS record that holds the public key."""
        return f"{self.selector}._domainkey.{self.domain}"


def signers_for(sender_domain: str, signers: Mapping[str, Sequence[Signer]]) -> Sequence[Signer]:
    """Return the signers of a domain, or else those of its closest parent that has some.

    A parent's signature is aligned with the domain for DMARC unless the parent's policy is strict.
    """
    domain = sender_domain.lower()
    while domain:
        if domain in signers:
            return signers[domain]
        domain = domain.partition(".")[2]
    return ()


def sign(content: bytes, signers: Sequence[Signer], *, time: int) -> bytes:
    """Return the mail with a signature of each signer before it, all made at ``time`` (seconds since the epoch).

    There is no ``l=``, with which text could be added, and no ``x=``: a mail may be read long after it was sent.
    """
    if not signers:
        return content
    block, _, body = content.partition(b"\r\n\r\n")
    headers = _relaxed_headers(block)
    names = _folded_names(tuple(name for name, _ in headers))
    signed = _signed_lines(headers)
    body_hash = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest()).decode()
    signatures = [_signature(signer, names, signed, body_hash, time) for signer in signers]
    return b"".join([*signatures, content])


def relaxed_body(body: bytes) -> bytes:
    """Return a body, whose line ends are all CRLF, in relaxed canonicalization (RFC 6376 §3.4.4)."""
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    lines = _single_blanks(body).replace(b" \r\n", b"\r\n").rstrip(b"\r\n")
    return lines + b"\r\n" if lines else b""


def _single_blanks(text: bytes) -> bytes:
    """Return a text with one space for each row of spaces and tabs; ten times as fast as a regular expression."""
    text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text


def _relaxed_headers(block: bytes) -> list[tuple[str, bytes]]:
    """Return name and canonical line of each header, in order; the line is without its end (RFC 6376 §3.4.2)."""
    found = []
    for line in _single_blanks(block.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")).split(b"\r\n"):
        name, _, value = line.partition(b":")
        lower = name.rstrip(b" ").lower()
        found.append((lower.decode("ascii"), lower + b":" + value.strip(b" ")))
    return found


def _signed_lines(headers: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the lines that the names of all headers select: of several with one name the last first."""
    left: dict[str, list[bytes]] = {}
    for name, line in headers:
        left.setdefault(name, []).append(line)
    return b"".join([left[name].pop() + b"\r\n" for name, _ in headers])


def _signature(signer: Signer, names: str, signed: bytes, body_hash: str, time: int) -> bytes:
    """Return the header DKIM-Signature of one signer."""
    header = (
        f"DKIM-Signature: v=1; a={signer.algorithm}; c=relaxed/relaxed; d={signer.domain};\r\n"
        f" s={signer.selector}; t={time};\r\n h={names};\r\n bh={body_hash};\r\n b="
    )
    [(_, line)] = _relaxed_headers(header.encode())
    encoded = base64.b64encode(signer.sign(signed + line)).decode()
    width = _MAX_LINE_LENGTH - 4
    lines = [encoded[start : start + width] for start in range(0, len(encoded), width)]
    folded = "\r\n  ".join(lines)
    return f"{header}{folded}\r\n".encode()


@lru_cache(maxsize=_CACHED_NAMES)
def _folded_names(present: tuple[str, ...]) -> str:
    """Return the names for ``h=``, on lines; cached, because the mails of a campaign have the same headers.

    All headers are signed. A name that stands once more than the mail has it keeps servers from adding one.
    """
    if_present = [name for name in _OVERSIGNED_IF_PRESENT if name in present]
    lines = [""]
    for name in (*present, *_OVERSIGNED, *if_present):
        if lines[-1] and len(lines[-1]) + len(name) > _MAX_LINE_LENGTH - 4:
            lines.append("")
        lines[-1] += f"{name}:"
    return "\r\n  ".join(lines)[:-1]
