"""Lookup of a user's address or number in the contact sources of a client.

Every address or number is checked here, whichever source it comes from. What a lookup returns is canonical and can't
break a header, a URL or a log line.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

from gatepost.contacts.addresses import canonical_email, canonical_phone, check_region
from gatepost.errors import Unavailable
from gatepost.model import NO_ATTRIBUTES, Channel, Contact, Secret
from gatepost.observe import logs
from gatepost.plugin_host.instances import Instance

_log = logs.get(__name__)


class LookupOutcome(StrEnum):
    """The outcome of a lookup."""

    FOUND = "found"
    UNKNOWN_USER = "unknown_user"
    """Every source answered, and none knows the user."""
    NO_ADDRESS = "no_address"
    """The user is known, but has no usable address or number for this channel."""
    UNREACHABLE = "unreachable"
    """No source that answered knows the user, and at least one source did not answer."""


class LookupResult(msgspec.Struct, frozen=True):
    """The result of a lookup; with FOUND it has a canonical ``recipient``."""

    outcome: LookupOutcome
    recipient: Secret | None = None
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    """Further attributes of the contact, for the sending plugin alone."""

    def __repr__(self) -> str:
        return f"<LookupResult {self.outcome}>"


class Contacts:
    """The contact sources of each client, in the order in which they are asked."""

    def __init__(
        self, sources: Mapping[str, Sequence[Instance]], timeout: float, default_region: str
    ) -> None:
        """Take the sources by client name; ``timeout`` is in seconds and for each source.

        Raises ConfigError for an unknown ``default_region``.
        """
        self._sources = {client: tuple(instances) for client, instances in sources.items()}
        self._timeout = timeout
        self._region = default_region
        if default_region:
            check_region(default_region)

    async def find(self, client: str, ext_user_id: str, channel: Channel) -> LookupResult:
        """Ask the sources of the client in turn until one knows the user.

        Never raises for an error of a source. Raises KeyError for a client that is not configured: the sources of
        another client may know a different person by the same id.
        """
        unreachable = False
        for source in self._sources[client]:
            try:
                contact = await source.find_contact(ext_user_id, self._timeout)
            except Unavailable as error:
                unreachable = True
                write = _log.error if error.misconfigured else _log.warning
                write(
                    "contact_source_unavailable", instance=source.name, reason=error.reason, code=error.code
                )
                continue
            if contact is not None:
                return self._result(contact, channel, source.name)
        return LookupResult(LookupOutcome.UNREACHABLE if unreachable else LookupOutcome.UNKNOWN_USER)

    def _result(self, contact: Contact, channel: Channel, source: str) -> LookupResult:
        raw = contact.email if channel is Channel.EMAIL else contact.phone
        if not raw:
            return LookupResult(LookupOutcome.NO_ADDRESS)
        text = raw.reveal()
        canonical = canonical_email(text) if channel is Channel.EMAIL else canonical_phone(text, self._region)
        if canonical is None:
            _log.warning("contact_unusable", instance=source, channel=channel.value)
            return LookupResult(LookupOutcome.NO_ADDRESS)
        return LookupResult(LookupOutcome.FOUND, Secret(canonical), contact.attributes)


class ContactCache:
    """Lookup results from the acceptance of messages, for the first attempt to send each; in memory only."""

    def __init__(
        self, ttl: float = 60.0, max_entries: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the lifetime of an entry in seconds; beyond ``max_entries`` the oldest entries are dropped."""
        self._ttl = ttl
        self._max_entries = max_entries
        self._clock = clock
        self._entries: dict[str, tuple[float, LookupResult]] = {}

    def put(self, message_id: str, lookup: LookupResult) -> None:
        """Store the result for a message; it replaces an older one."""
        self._entries.pop(message_id, None)
        self.drop_expired(free_entries=1)
        self._entries[message_id] = (self._clock(), lookup)

    def drop_expired(self, free_entries: int = 0) -> None:
        """Drop the expired entries, and the oldest until ``free_entries`` are free; has to be called regularly."""
        now = self._clock()
        # A dict is in the order of its insertions, so the oldest entries come first.
        while self._entries:
            oldest = next(iter(self._entries))
            fresh = self._entries[oldest][0] + self._ttl > now
            if fresh and len(self._entries) + free_entries <= self._max_entries:
                break
            del self._entries[oldest]

    def take(self, message_id: str) -> LookupResult | None:
        """Remove and return the result for a message; None where there is none or it has expired."""
        entry = self._entries.pop(message_id, None)
        if entry is None or self._clock() - entry[0] >= self._ttl:
            return None
        return entry[1]
