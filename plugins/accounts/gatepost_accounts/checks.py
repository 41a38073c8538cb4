"""What in the settings can't be used, beyond templates and pointers, and what probably is not meant. Pure functions."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from gatepost import wire
from gatepost.model import Secret
from gatepost_accounts.requests import AddFault
from gatepost_accounts.settings import OAuth, Settings


def add_faults(settings: Settings, add_fault: AddFault) -> None:
    """Add a fault for everything that can't be used."""
    names = [name.lower() for name in settings.headers]
    for number, (name, value) in enumerate(settings.headers.items()):
        if not wire.can_set_header(name):
            add_fault(f"headers.{name}", "is not a header that can be set")
        if name.lower() in names[:number]:
            add_fault(f"headers.{name}", "is there twice, in different case: a header has one value")
        if not _is_header_value(value):
            add_fault(f"headers.{name}", "must be printable ASCII, and not empty")
    if settings.oauth is not None:
        if "authorization" in names:
            add_fault("oauth", "and headers.Authorization are both there: a request has one such header")
        _add_oauth_faults(settings.oauth, add_fault)


def _add_oauth_faults(oauth: OAuth, add_fault: AddFault) -> None:
    if not oauth.client_id:
        add_fault("oauth.client_id", "is empty")
    if not oauth.client_secret:
        add_fault("oauth.client_secret", "is empty")
    for key in ("client_id", "client_secret", "scope", "audience"):
        value = getattr(oauth, key)
        if not _is_unicode(value.reveal() if isinstance(value, Secret) else value):
            add_fault(f"oauth.{key}", "is no valid Unicode: it has half a character")


def add_warnings(settings: Settings, warn: AddFault) -> None:
    """Warn of everything that can be used and probably is not meant."""
    if not settings.id:
        warn("id", "is not set: an answer about another user would be taken for the right one")
    for key, url in [("url", settings.url), ("oauth.token_url", getattr(settings.oauth, "token_url", ""))]:
        if url.startswith("http:") and not _is_here(urlsplit(url).hostname or ""):
            warn(key, "is http: addresses and credentials can be read on their way. Use https")


def plain_headers(settings: Settings) -> dict[str, str]:
    """Return the headers of every request."""
    headers = {name: value.reveal() for name, value in settings.headers.items()}
    return headers if _has(headers, "accept") else {"Accept": "application/json", **headers}


def _has(names: Collection[str], wanted: str) -> bool:
    return any(name.lower() == wanted for name in names)


def _is_header_value(secret: Secret) -> bool:
    value = secret.reveal()
    return value.isascii() and value.isprintable() and value.strip() != ""


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
