"""Email addresses for SMTP commands and headers, and signed return paths. Pure functions."""

import hashlib
import hmac
import re
from collections.abc import Collection

# An address is written into a command and into a header unchanged, so only an address that needs no quotes in
# either is accepted: dot-atoms. Quoted local parts ("a b"@…) are valid by the RFC, but only attacks use them.
_ATOM = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x9f\s])+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

_MESSAGE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RETURN_PATH = re.compile(r"b\+([0-9a-f]{32})-([0-9a-f]{20})@([a-z0-9.-]+)", re.IGNORECASE)


def is_domain(text: str) -> bool:
    """Tell whether ``text`` is an ASCII domain."""
    return len(text) <= 253 and _DOMAIN.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Tell whether ``text`` is one plain address that is safe in an SMTP command and in a header."""
    local_part, _, domain = text.rpartition("@")
    return (
        text.isprintable()  # no control characters, separators or lone surrogates
        and "=?" not in text  # valid in an atom, but a reader of headers may decode what follows
        and len(text.encode()) <= 254
        and _LOCAL_PART.fullmatch(local_part) is not None
        and is_domain(domain)
    )


def is_message_id(text: str) -> bool:
    """Tell whether ``text`` has the form of Gatepost's message ids."""
    return _MESSAGE_ID.fullmatch(text) is not None


def return_path(message_id: str, domain: str, key: str) -> str:
    """Return the envelope sender that identifies a bounce: the message id and a signature against forgery."""
    hex_id = message_id.replace("-", "")
    return f"b+{hex_id}-{_signature(hex_id, key)}@{domain}"


def find_return_path(text: str, domain: str, keys: Collection[str]) -> str:
    """Return the message id of the first return path in ``text`` that one of the keys signed; empty if there is none."""
    for match in _RETURN_PATH.finditer(text):
        if message_id := _signed_id(match, domain, keys):
            return message_id
    return ""


def read_return_path(address: str, domain: str, keys: Collection[str]) -> str:
    """Return the message id of an address that is a return path which one of the keys signed; empty for another."""
    match = _RETURN_PATH.fullmatch(address)
    return _signed_id(match, domain, keys) if match else ""


def _signed_id(match: re.Match[str], domain: str, keys: Collection[str]) -> str:
    hex_id, signature = match[1].lower(), match[2].lower()
    if match[3].lower() != domain.lower():
        return ""
    if not any(hmac.compare_digest(signature, _signature(hex_id, key)) for key in keys):
        return ""
    return "-".join((hex_id[:8], hex_id[8:12], hex_id[12:16], hex_id[16:20], hex_id[20:]))


def _signature(hex_id: str, key: str) -> str:
    # Ten bytes, because a local part holds 64 characters; a forger has only a few thousand guesses per mail.
    return hmac.new(key.encode(), b"return-path:" + hex_id.encode(), hashlib.sha256).hexdigest()[:20]
