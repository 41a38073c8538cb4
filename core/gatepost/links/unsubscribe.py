"""One-click unsubscribe: the page for people, and the POST of mail programs and of the page's button."""

import time

from gatepost.config.settings import Settings
from gatepost.config.unsubscribe_page import UnsubscribePage
from gatepost.errors import StoreError
from gatepost.links import pages
from gatepost.links.pages import ClientPages, Page
from gatepost.links.recording import LinkOutcome, record_status
from gatepost.links.tokens import LinkKind, LinkTokens
from gatepost.model import Status
from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox, message_clients

_log = logs.get(__name__)


class Unsubscribing:
    """Answers the requests for the links in List-Unsubscribe headers."""

    def __init__(self, settings: Settings, outbox: Outbox, tokens: LinkTokens, metrics: Metrics) -> None:
        self._outbox = outbox
        self._tokens = tokens
        self._requests = metrics.link_requests
        self._default_pages = pages.client_pages(UnsubscribePage())
        self._pages = {
            name: pages.client_pages(client.unsubscribe_page)
            for name, client in settings.clients.items()
            if client.unsubscribe_page
        }
        self._log_throttle = LogThrottle(time.monotonic)

    async def question(self, token: str, accepted_languages: str) -> Page:
        """Return the page with the button. Nothing changes: programs that look for malware follow links too."""
        message_id = self._tokens.message_id(LinkKind.UNSUBSCRIBE, token)
        if not message_id:
            return pages.GONE
        try:
            found = await self._find_pages(message_id, accepted_languages)
        except StoreError:
            return pages.LATER
        return found.question if found else pages.GONE

    async def unsubscribe(self, token: str, accepted_languages: str) -> Page:
        """Record that the user unsubscribed; return the page that says so once that is on disk."""
        message_id = self._tokens.message_id(LinkKind.UNSUBSCRIBE, token)
        outcome, page = LinkOutcome.INVALID, pages.GONE
        if message_id:
            try:
                outcome, page = await self._record(message_id, accepted_languages)
            except StoreError as error:
                outcome, page = LinkOutcome.UNAVAILABLE, pages.LATER
                if self._log_throttle.due("unsubscribe"):
                    _log.error("unsubscribe_not_stored", message=message_id, reason=str(error))
        self._requests.labels(LinkKind.UNSUBSCRIBE.value, outcome.value).inc()
        return page

    async def _record(self, message_id: str, accepted_languages: str) -> tuple[LinkOutcome, Page]:
        # Before the status is recorded: a user who reads that it failed must not be unsubscribed already.
        found = await self._find_pages(message_id, accepted_languages)
        if found is None:
            return LinkOutcome.UNKNOWN, pages.GONE
        outcome = await record_status(self._outbox, message_id, Status.UNSUBSCRIBED)
        return outcome, pages.GONE if outcome is LinkOutcome.UNKNOWN else found.done

    async def _find_pages(self, message_id: str, accepted_languages: str) -> ClientPages | None:
        """Return the pages of the message's client, in the language of the browser; None for an unknown message."""
        client = await self._outbox.change(message_clients.find, message_id)
        if not client:
            return None
        found = self._pages.get(client, self._default_pages)
        return found[pages.choose_language(accepted_languages, found)]
