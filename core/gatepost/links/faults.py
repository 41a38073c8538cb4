"""The faults of the settings for links in mails."""

import re
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from gatepost.config.client import Client
from gatepost.config.settings import Settings
from gatepost.config.unsubscribe_page import UnsubscribePage
from gatepost.content_keys import key_faults
from gatepost.errors import Fault
from gatepost.links.mail import public_url

MIN_RETENTION = 30 * 86_400
"""Seconds for which a link for unsubscribing must work at least."""

_KEYS = "server.token_keys"

_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9:/\[\]!$()*+;=._~%-]+", re.ASCII)

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", re.ASCII)


def link_faults(settings: Settings, faulty_keys: Collection[str]) -> Iterator[Fault]:
    """Yield the faults of ``server.token_keys`` and of the clients whose mails have links.

    The ``faulty_keys`` have a fault already, and the settings hold a default in place of their values.
    """
    yield from key_faults(_KEYS, settings.server.token_keys)
    for name, client in settings.clients.items():
        path = f"clients.{name}"
        if client.unsubscribe_page:
            yield from _page_faults(f"{path}.unsubscribe_page", client.unsubscribe_page)
        for key in ("unsubscribe", "open_pixel"):
            if getattr(client, key) and not settings.server.token_keys and _KEYS not in faulty_keys:
                yield Fault(f"{path}.{key}", f"needs {_KEYS}, with which the links are made")
            if getattr(client, key) and not {f"{path}.public_url", "server.public_url"} & set(faulty_keys):
                yield from _url_faults(f"{path}.{key}", public_url(settings, client), client)
    unsubscribing = [name for name, client in settings.clients.items() if client.unsubscribe]
    if unsubscribing and settings.delivery.retention < MIN_RETENTION:
        yield Fault(
            "delivery.retention",
            f"must be at least {MIN_RETENTION:,} seconds (30 days), because clients.{unsubscribing[0]} has "
            "unsubscribe = true: later the link in a mail would no longer work",
        )


def _page_faults(path: str, page: UnsubscribePage) -> Iterator[Fault]:
    keys = {"language": page.language, **{f"languages.{one}": one for one in page.languages}}
    for key, language in keys.items():
        if not _LANGUAGE.fullmatch(language):
            yield Fault(f"{path}.{key}", "must be a language such as en or pt-BR")
    known = {page.language.lower()}
    for language in page.languages:
        if language.lower() in known:
            yield Fault(f"{path}.languages.{language}", f"{path} has other texts for this language")
        known.add(language.lower())


def _url_faults(key: str, url: str, client: Client) -> Iterator[Fault]:
    if not url:
        yield Fault(key, "needs server.public_url, or a public_url of this client, to which the links lead")
    elif not _PLAIN_URL.fullmatch(url):
        yield Fault(key, "needs a public_url that is a URL of plain ASCII, because it becomes a header")
    elif urlsplit(url).scheme != "https" and not client.allow_private_callbacks:
        yield Fault(key, "needs a public_url with https: mail programs call no other one (RFC 8058)")
