"""The faults of the settings for links in mails."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from gatepost import wire
from gatepost.config.client import Client
from gatepost.config.settings import Settings
from gatepost.content_keys import key_faults
from gatepost.errors import ConfigError, Fault
from gatepost.links.mail import public_url

MIN_RETENTION = 30 * 86_400
"""Seconds for which a link for unsubscribing must work at least."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", re.ASCII)


def link_faults(settings: Settings) -> Iterator[Fault]:
    """Yield the faults of ``server.token_keys`` and of the clients whose mails have links."""
    yield from key_faults("server.token_keys", settings.server.token_keys)
    for name, client in settings.clients.items():
        yield from _client_faults(settings, f"clients.{name}", client)
    unsubscribing = [name for name, client in settings.clients.items() if client.unsubscribe]
    if unsubscribing and settings.delivery.retention < MIN_RETENTION:
        yield Fault(
            "delivery.retention",
            f"must be at least {MIN_RETENTION:,} seconds (30 days), because clients.{unsubscribing[0]} has "
            "unsubscribe = true: later the link in a mail would no longer work",
        )


def _client_faults(settings: Settings, path: str, client: Client) -> Iterator[Fault]:
    page = client.unsubscribe_page
    for key, language in [
        ("language", page.language),
        *((f"languages.{one}", one) for one in page.languages),
    ]:
        if not _LANGUAGE.fullmatch(language):
            yield Fault(f"{path}.unsubscribe_page.{key}", "must be a language such as en or pt-BR")
    if client.public_url:
        try:
            wire.check_base_url(client.public_url, f"{path}.public_url")
        except ConfigError as error:
            yield from error.faults
            return
    for key in ("unsubscribe", "open_pixel"):
        if getattr(client, key):
            yield from _link_faults(settings, f"{path}.{key}", client)


def _link_faults(settings: Settings, key: str, client: Client) -> Iterator[Fault]:
    if not settings.server.token_keys:
        yield Fault(key, "needs server.token_keys, with which the links are made")
    url = public_url(settings, client)
    if not url:
        yield Fault(key, "needs server.public_url, or a public_url of this client, which the links lead to")
    elif urlsplit(url).scheme != "https" and not client.allow_private_callbacks:
        yield Fault(key, "needs a public_url with https: mail programs call no other one (RFC 8058)")
