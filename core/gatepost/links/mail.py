"""What a mail gets right before it is sent: the headers for unsubscribing, and the pixel."""

import msgspec

from gatepost.config.client import Client
from gatepost.config.settings import Settings
from gatepost.html_tokens import find_end_tag
from gatepost.links.tokens import LinkKind, LinkTokens
from gatepost.model import Email

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

    def add(self, email: Email) -> Email:
        """Return a mail with the links that its client wants."""
        client = self._clients[email.client]
        if client.unsubscribe:
            url = self._url(UNSUBSCRIBE_PATH, LinkKind.UNSUBSCRIBE, email)
            own = dict(zip(_HEADERS, (f"<{url}>", "List-Unsubscribe=One-Click"), strict=True))
            email = msgspec.structs.replace(email, headers={**email.headers, **own})
        # Without HTML there is nothing that could load a pixel.
        if client.open_pixel and email.html.strip():
            url = self._url(PIXEL_PATH, LinkKind.OPEN, email)
            email = msgspec.structs.replace(email, html=_with_pixel(email.html, url + PIXEL_SUFFIX))
        return email

    def _url(self, path: str, kind: LinkKind, email: Email) -> str:
        return f"{self._urls[email.client]}{path}{self._tokens.make(kind, email.id)}"


def _with_pixel(html: str, url: str) -> str:
    end = find_end_tag(html, "body") if len(html) <= MAX_SEARCHED else len(html)
    return f'{html[:end]}<img src="{url}" width="1" height="1" alt="">{html[end:]}'


def without_unsubscribe(message: Email) -> Email:
    """Return the mail for a provider that adds headers of its own for unsubscribing."""
    headers = {name: value for name, value in message.headers.items() if name not in _HEADERS}
    return msgspec.structs.replace(message, headers=headers)
