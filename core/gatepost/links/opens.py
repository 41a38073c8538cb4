"""The pixel: who loads it has opened the mail, unless it is a mail system that loads every image in advance."""

import time
from enum import StrEnum

from gatepost.config.settings import Settings
from gatepost.errors import StoreError
from gatepost.links.mail import PIXEL_SUFFIX
from gatepost.links.recording import LinkOutcome, record_status
from gatepost.links.tokens import LinkKind, LinkTokens
from gatepost.model import Status
from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox, message_clients

MAX_REMEMBERED = 20_000
"""Messages whose pixel was loaded lately, so that the store is not asked again. They take 3 MB."""

_log = logs.get(__name__)


class Loader(StrEnum):
    """What loads a pixel, as far as its User-Agent tells."""

    PROGRAM = "program"
    """A mail program or a browser."""
    GOOGLE = "google"
    """Gmail's proxy, which loads an image when a person opens the mail."""
    YAHOO = "yahoo"
    """Yahoo's proxy, which does the same."""
    MACHINE = "machine"
    """A mail system without a person: Apple's Mail Privacy Protection loads every image, also of mails never opened."""


def loader_of(user_agent: str) -> Loader:
    """Return what has this User-Agent."""
    if "GoogleImageProxy" in user_agent:
        return Loader.GOOGLE
    if "YahooMailProxy" in user_agent:
        return Loader.YAHOO
    # Apple's proxies send nothing else, and no mail program sends so little.
    return Loader.MACHINE if user_agent.strip() in {"", "Mozilla/5.0"} else Loader.PROGRAM


class Opens:
    """Answers the requests for pixels."""

    def __init__(self, settings: Settings, outbox: Outbox, tokens: LinkTokens, metrics: Metrics) -> None:
        self._counting_machines = {
            name for name, client in settings.clients.items() if client.count_machine_opens
        }
        self._outbox = outbox
        self._tokens = tokens
        self._requests = metrics.link_requests
        self._loads = metrics.pixel_loads
        self._results: dict[str, LinkOutcome] = {}
        """What came of the last request for each pixel that was loaded lately, the oldest first."""
        self._log_throttle = LogThrottle(time.monotonic)

    async def load(self, name: str, user_agent: str) -> int:
        """Record that a mail was opened; return the HTTP status: 200, 404, or 503 for a store that can't take it."""
        token = name.removesuffix(PIXEL_SUFFIX)
        message_id = self._tokens.message_id(LinkKind.OPEN, token) if token != name else ""
        outcome = await self._load(message_id, loader_of(user_agent)) if message_id else LinkOutcome.INVALID
        self._requests.labels(LinkKind.OPEN.value, outcome.value).inc()
        if outcome is LinkOutcome.UNAVAILABLE:
            return 503
        return 404 if outcome in {LinkOutcome.INVALID, LinkOutcome.UNKNOWN} else 200

    async def _load(self, message_id: str, loader: Loader) -> LinkOutcome:
        known = self._results.get(message_id)
        if known is not None and (known is not LinkOutcome.MACHINE or loader is Loader.MACHINE):
            return known
        # Before the store is asked: of a thousand requests at the same time one is enough.
        self._remember(message_id, LinkOutcome.MACHINE if loader is Loader.MACHINE else LinkOutcome.REPEATED)
        try:
            outcome = await self._record(message_id, loader)
        except StoreError as error:
            self._results.pop(message_id, None)
            if self._log_throttle.due("open"):
                _log.error("open_not_stored", message=message_id, reason=str(error))
            return LinkOutcome.UNAVAILABLE
        # Not for a machine: meanwhile a person may have opened the mail.
        if outcome is not LinkOutcome.MACHINE:
            self._remember(message_id, LinkOutcome.REPEATED if outcome is LinkOutcome.RECORDED else outcome)
        if outcome is not LinkOutcome.UNKNOWN:
            self._loads.labels(loader.value).inc()
        return outcome

    async def _record(self, message_id: str, loader: Loader) -> LinkOutcome:
        if loader is Loader.MACHINE:
            client = await self._outbox.change(message_clients.find, message_id)
            if not client:
                return LinkOutcome.UNKNOWN
            if client not in self._counting_machines:
                return LinkOutcome.MACHINE
        return await record_status(self._outbox, message_id, Status.OPENED)

    def _remember(self, message_id: str, outcome: LinkOutcome) -> None:
        self._results.pop(message_id, None)
        self._results[message_id] = outcome
        if len(self._results) > MAX_REMEMBERED:
            del self._results[next(iter(self._results))]
