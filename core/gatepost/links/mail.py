"""What a mail gets right before it is sent: the headers for unsubscribing, and the pixel."""

from collections.abc import Mapping

import msgspec

from gatepost.config.client import Client
from gatepost.config.settings import Settings
from gatepost.html_tokens import find_end_tag
from gatepost.links.tokens import LinkKind, LinkTokens
from gatepost.model import NO_HEADERS, Email

UNSUBSCRIBE_PATH = "/u/"
PIXEL_PATH = "/o/"
PIXEL_SUFFIX = ".gif"

MAX_SEARCHED = 102_400
"""Characters of HTML in which the end of the body is looked for, because that takes up to 20 ms. Mail programs show no more
of a mail. In a longer one the pixel is at the very end."""

_HEADERS = "List-Unsubscribe", "List-Unsubscribe-Post"


def public_url(settings: Settings, client: Client) -> str:
    """Return the URL at which the links of a client's mails reach the gateway; empty where it has none."""
    return (client.public_url or settings.server.public_url).rstrip("/")


class MailLinks:
    """Adds the links to the mails of each client that has them."""

    def __init__(self, settings: Settings) -> None:
        self._clients = settings.clients
        self._urls = {name: public_url(settings, client) for name, client in settings.clients.items()}
        self._tokens = LinkTokens(settings.server.token_keys)

    def headers(self, client: str, message_id: str) -> Mapping[str, str]:
        """Return the headers of a client's mail by which its recipient unsubscribes with one click (RFC 8058)."""
        if not self._clients[client].unsubscribe:
            return NO_HEADERS
        token = self._tokens.make(LinkKind.UNSUBSCRIBE, message_id)
        url = f"{self._urls[client]}{UNSUBSCRIBE_PATH}{token}"
        return dict(zip(_HEADERS, (f"<{url}>", "List-Unsubscribe=One-Click"), strict=True))

    def with_pixel(self, client: str, message_id: str, html: str) -> str:
        """Return the HTML of a client's mail with the pixel at its end; a mail without HTML has none."""
        if not self._clients[client].open_pixel or not html.strip():
            return html
        token = self._tokens.make(LinkKind.OPEN, message_id)
        url = f"{self._urls[client]}{PIXEL_PATH}{token}{PIXEL_SUFFIX}"
        end = find_end_tag(html, "body") if len(html) <= MAX_SEARCHED else len(html)
        return f'{html[:end]}<img src="{url}" width="1" height="1" alt="">{html[end:]}'


def without_unsubscribe(message: Email) -> Email:
    """Return the mail for a provider that adds headers of its own for unsubscribing."""
    headers = {name: value for name, value in message.headers.items() if name not in _HEADERS}
    return msgspec.structs.replace(message, headers=headers)
