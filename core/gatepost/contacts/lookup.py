"""The chain of sources: who is this user, and where is the message to go.

What a source says is judged here, once for all of them: an address or a number that comes out is
canonical and can't break a header, a URL or a log line.
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
    """What came of a search."""

    FOUND = "found"
    UNKNOWN_USER = "unknown_user"
    """Every source was asked, and none knows the user."""
    NO_ADDRESS = "no_address"
    """The user is known, and has no usable address or number for this channel."""
    UNREACHABLE = "unreachable"
    """Nobody knew the user, and at least one source could not be asked."""


class LookupResult(msgspec.Struct, frozen=True):
    """A search's result; ``recipient`` is there when the outcome is FOUND, and then canonical."""

    outcome: LookupOutcome
    recipient: Secret | None = None
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    """The contact's further attributes, for the sending plugin and nobody else."""

    def __repr__(self) -> str:
        return f"<LookupResult {self.outcome}>"


class Contacts:
    """Each client's own sources, in the order in which they are asked."""

    def __init__(
        self, sources: Mapping[str, Sequence[Instance]], timeout: float, default_region: str
    ) -> None:
        """Take each client's sources by its name.

        ``timeout``: seconds a source. Raises ConfigError where there is no such region.
        """
        self._sources = {client: tuple(asked) for client, asked in sources.items()}
        self._timeout = timeout
        self._region = default_region
        if default_region:
            check_region(default_region)

    async def find(self, client: str, ext_user_id: str, channel: Channel) -> LookupResult:
        """Ask one source of the client after the other until one knows the user.

        Never raises for what a source does. Raises KeyError for a client that is not configured: another
        client's sources may know a different person by the same id.
        """
        unreachable = False
        for source in self._sources[client]:
            try:
                contact = await source.find_contact(ext_user_id, self._timeout)
            except Unavailable as error:
                unreachable = True
                write = _log.error if error.misconfigured else _log.warning
                write(
                    "contact_source_passed_over", instance=source.name, reason=error.reason, code=error.code
                )
                continue
            if contact is not None:
                return self._judge(contact, channel, source.name)
        return LookupResult(LookupOutcome.UNREACHABLE if unreachable else LookupOutcome.UNKNOWN_USER)

    def _judge(self, contact: Contact, channel: Channel, source: str) -> LookupResult:
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
    """What was found when a message arrived, kept for its first try to be sent; in memory only."""

    def __init__(
        self, seconds: float = 60.0, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Keeps at most ``most``, each for ``seconds``; the oldest goes first."""
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._kept: dict[str, tuple[float, LookupResult]] = {}

    def put(self, message_id: str, lookup: LookupResult) -> None:
        """Keep a finding, in place of an older one of the same message."""
        self._kept.pop(message_id, None)
        self.forget(room_for=1)
        self._kept[message_id] = (self._clock(), lookup)

    def forget(self, room_for: int = 0) -> None:
        """Drop what is too old, and the oldest where there is no room; to be called every now and then."""
        now = self._clock()
        # A dict is in the order of its insertions, so the oldest are at its front.
        while self._kept:
            oldest = next(iter(self._kept))
            young = self._kept[oldest][0] + self._seconds > now
            if young and len(self._kept) + room_for <= self._most:
                break
            del self._kept[oldest]

    def take(self, message_id: str) -> LookupResult | None:
        """The message's finding, once; None where there is none or it is too old."""
        kept = self._kept.pop(message_id, None)
        if kept is None or self._clock() - kept[0] >= self._seconds:
            return None
        return kept[1]
