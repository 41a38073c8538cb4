"""Lookup of a user's address or number in the contact sources of a client.

Every address or number is checked here, whichever source it comes from. What a lookup returns is canonical and can't
break a header, a URL or a log line.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from gatepost.contacts.addresses import canonical_email, canonical_phone, check_region
from gatepost.contacts.gathering import GatheredLookups
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
    BLOCKED = "blocked"
    """A source says that the user must not be contacted."""
    UNREACHABLE = "unreachable"
    """A source with ``blocks = true`` did not answer; or another did not, and those that did don't know the user."""


class LookupResult(msgspec.Struct, frozen=True):
    """The result of a lookup; with FOUND it has a canonical ``recipient``."""

    outcome: LookupOutcome
    recipient: Secret | None = None
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    """Further attributes of the contact, for the sending plugin alone."""
    blocked: str = ""
    """The reason of BLOCKED."""
    source: str = ""
    """The instance that knows the user; set with FOUND, as is ``raw``."""
    raw: Secret | None = None
    """The address or number as the source has it."""

    def __repr__(self) -> str:
        return f"<LookupResult {self.outcome}>"


class _Answer(NamedTuple):
    """The answer of one source about one user."""

    source: Instance
    contact: Contact | None
    available: bool = True


class Contacts:
    """The contact sources of each client, in the order in which they are queried."""

    def __init__(
        self, sources: Mapping[str, Sequence[Instance]], timeout: float, default_region: str
    ) -> None:
        """Take the sources by client name; ``timeout`` is in seconds and for each source.

        Raises ConfigError for an unknown ``default_region``.
        """
        self._sources = {client: tuple(instances) for client, instances in sources.items()}
        # Not those that answer from memory: a task for each would cost more than it saves.
        self._concurrent = {
            client: [one for one in instances if one.settings.blocks and not one.as_source.in_memory]
            for client, instances in self._sources.items()
            if len(instances) > 1
        }
        self._timeout = timeout
        self._gathered = {
            one.name: GatheredLookups(one.as_source, timeout, one.name)
            for instances in self._sources.values()
            for one in instances
            if one.as_source.finds_many
        }
        self._region = default_region
        if default_region:
            check_region(default_region)

    async def find(
        self, client: str, ext_user_id: str, channel: Channel, earlier: LookupResult | None = None
    ) -> LookupResult:
        """Query the sources of the client in turn until one knows the user, and all sources with ``blocks = true``.

        ``earlier`` is a recent result of the same lookup. If the source of its address does not answer now, that
        address is returned. Whether the user may be contacted is never taken from it.

        Never raises for an error of a source. Raises KeyError for a client that is not configured: the sources of
        another client may know a different person by the same id.
        """
        if concurrent := self._concurrent.get(client):
            async with asyncio.TaskGroup() as group:
                begun = {
                    source.name: group.create_task(self._ask(source, ext_user_id)) for source in concurrent
                }
                answers = await self._query(client, ext_user_id, begun)
        else:
            answers = await self._query(client, ext_user_id, {})
        return self._result(answers, channel, earlier)

    async def _query(
        self, client: str, ext_user_id: str, begun: Mapping[str, Awaitable[_Answer]]
    ) -> Sequence[_Answer]:
        """Return the answers of the sources that have to be queried; the queries in ``begun`` are running already."""
        answers: list[_Answer] = []
        known = False
        for source in self._sources[client]:
            if known and not source.settings.blocks:
                continue
            answer = await (begun.get(source.name) or self._ask(source, ext_user_id))
            answers.append(answer)
            known = known or answer.contact is not None
        return answers

    async def _ask(self, source: Instance, ext_user_id: str) -> _Answer:
        try:
            gathered = self._gathered.get(source.name)
            if gathered is not None:
                return _Answer(source, await gathered.find(ext_user_id))
            return _Answer(source, await source.as_source.find_contact(ext_user_id, self._timeout))
        except Unavailable as error:
            write = _log.error if error.misconfigured else _log.warning
            write("contact_source_unavailable", instance=source.name, reason=error.reason, code=error.code)
            return _Answer(source, None, available=False)

    def _result(
        self, answers: Sequence[_Answer], channel: Channel, earlier: LookupResult | None
    ) -> LookupResult:
        known: Contact | None = None
        source = ""
        missing: list[Instance] = []
        for answer in answers:
            if not answer.available:
                missing.append(answer.source)
            elif answer.contact is not None:
                if answer.contact.blocked:
                    return LookupResult(LookupOutcome.BLOCKED, blocked=answer.contact.blocked)
                if known is None:
                    known, source = answer.contact, answer.source.name
        if missing:
            if any(one.settings.blocks for one in missing):
                return LookupResult(LookupOutcome.UNREACHABLE)
            if earlier is not None and any(one.name == earlier.source for one in missing):
                return earlier
        if known is not None:
            return self._recipient(known, channel, source, earlier)
        return LookupResult(LookupOutcome.UNREACHABLE if missing else LookupOutcome.UNKNOWN_USER)

    def _recipient(
        self, contact: Contact, channel: Channel, source: str, earlier: LookupResult | None
    ) -> LookupResult:
        raw = contact.email if channel is Channel.EMAIL else contact.phone
        if not raw:
            return LookupResult(LookupOutcome.NO_ADDRESS)
        if earlier is not None and raw == earlier.raw:
            # It is canonical already: to read a number takes longer than the rest of a lookup.
            recipient = earlier.recipient
        elif canonical := self._canonical(raw.reveal(), channel):
            recipient = Secret(canonical)
        else:
            _log.warning("contact_unusable", instance=source, channel=channel.value)
            return LookupResult(LookupOutcome.NO_ADDRESS)
        return LookupResult(LookupOutcome.FOUND, recipient, contact.attributes, source=source, raw=raw)

    def _canonical(self, text: str, channel: Channel) -> str | None:
        return canonical_email(text) if channel is Channel.EMAIL else canonical_phone(text, self._region)


class ContactCache:
    """Lookup results from the acceptance of messages, for the first attempt to send each; in memory only.

    They may serve the address, and never the question whether the user may be contacted.
    """

    def __init__(
        self, ttl: float = 60.0, max_entries: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the lifetime of an entry in seconds; beyond ``max_entries`` the oldest entries are dropped."""
        self._ttl = ttl
        self._max_entries = max_entries
        self._clock = clock
        # Not a dict: to find its first key takes longer the more entries before it have been removed.
        self._entries: OrderedDict[str, tuple[float, LookupResult]] = OrderedDict()

    def put(self, message_id: str, lookup: LookupResult) -> None:
        """Store the result for a message; it replaces an older one."""
        self._entries.pop(message_id, None)
        self.drop_expired(free_entries=1)
        self._entries[message_id] = (self._clock(), lookup)

    def drop_expired(self, free_entries: int = 0) -> None:
        """Drop the expired entries, and the oldest until ``free_entries`` are free; has to be called regularly."""
        now = self._clock()
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
