"""What may stand as an address in an SMTP command and in a header, and the signed return paths."""

import hashlib
import hmac
import re

# An address goes onto a command line and into a header as it is, so only what needs no quoting in
# either is let through: dot-atoms. Quoted local parts ("a b"@…) exist on paper and in attacks.
_ATOM = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x9f\s])+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RETURN_PATH = re.compile(r"b\+([0-9a-f]{32})-([0-9a-f]{20})@([a-z0-9.-]+)", re.IGNORECASE)


def is_domain(text: str) -> bool:
    """Whether this is a domain in ASCII."""
    return len(text) <= 253 and _DOMAIN.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether this is one bare address that may be put on a command line and into a header."""
    local, _, domain = text.rpartition("@")
    return (
        text.isprintable()  # neither controls nor separators nor lone surrogates
        and "=?" not in text  # atoms, but a reader of headers may decode them to something else
        and len(text.encode()) <= 254
        and _LOCAL.fullmatch(local) is not None
        and is_domain(domain)
    )


def is_message_id(text: str) -> bool:
    """Whether this has the shape of our own ids."""
    return _ID.fullmatch(text) is not None


def return_path(message_id: str, domain: str, key: str) -> str:
    """The envelope sender that brings a bounce home: our id, and a signature so that none is made up."""
    compact = message_id.replace("-", "")
    return f"b+{compact}-{_signature(compact, key)}@{domain}"


def find_return_path(text: str, domain: str, key: str) -> str:
    """Our id out of the first signed return path in ``text``; empty where there is none of ours."""
    for compact, signature, at in _RETURN_PATH.findall(text):
        if at.lower() == domain.lower() and hmac.compare_digest(
            signature.lower(), _signature(compact.lower(), key)
        ):
            plain = compact.lower()
            return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))
    return ""


def _signature(compact: str, key: str) -> str:
    # Ten bytes: a local part holds 64 characters, and a forger gets a few thousand guesses a mail.
    return hmac.new(key.encode(), b"return-path:" + compact.encode(), hashlib.sha256).hexdigest()[:20]
