"""Lookup of a user's address or number in the contact sources of a client.

Every address or number is checked here, whichever source it comes from. What a lookup returns is canonical and can't
break a header, a URL or a log line.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

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
    """A source with ``blocks = true`` did not answer; or another did not, and it may be the one that has the address."""


class LookupResult(msgspec.Struct, frozen=True):
    """The result of a lookup; with FOUND it has a canonical ``recipient``."""

    outcome: LookupOutcome
    recipient: Secret | None = None
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    """Further attributes of the contact, for merge fields and for the sending plugin."""
    blocked: str = ""
    """The reason of BLOCKED."""
    known: Sequence[tuple[str, Contact]] = ()
    """The contacts that the result is made of, each with its instance; set with FOUND, as are the next two."""
    source: str = ""
    """The instance that has the address."""
    raw: Secret | None = None
    """The address or number as that source has it."""

    def __repr__(self) -> str:
        return f"<LookupResult {self.outcome}>"


class Answer(NamedTuple):
    """The answer of one source about one user."""

    source: Instance
    contact: Contact | None
    failure: Unavailable | None = None
    """Why the source did not answer."""


Ask: TypeAlias = Callable[[Instance, str], Coroutine[Any, Any, Answer]]

_NONE_BEGUN: Mapping[str, Awaitable[Answer]] = {}


class Contacts:
    """The contact sources of each client, in the order in which they are queried."""

    def __init__(
        self, sources: Mapping[str, Sequence[Instance]], timeout: float, default_region: str
    ) -> None:
        """Take the sources by client name; ``timeout`` is in seconds and for each source.

        Raises ConfigError for an unknown ``default_region``.
        """
        self.sources = {client: tuple(instances) for client, instances in sources.items()}
        """The sources of each client, in order."""
        # Not those that answer from memory: a task for each would cost more than it saves.
        self._concurrent = {
            client: [one for one in instances if one.settings.is_always_asked and not one.as_source.in_memory]
            for client, instances in self.sources.items()
            if len(instances) > 1
        }
        self._timeout = timeout
        self._gathered = {
            one.name: GatheredLookups(one.as_source, timeout, one.name)
            for instances in self.sources.values()
            for one in instances
            if one.as_source.finds_many
        }
        self.region = default_region
        """The region of numbers without a country code; empty: they are refused."""
        if default_region:
            check_region(default_region)

    async def find(
        self, client: str, ext_user_id: str, channel: Channel, earlier: LookupResult | None = None
    ) -> LookupResult:
        """Query the sources of the client, and return what their answers say together.

        ``earlier`` is a recent result of the same lookup. What it has from a source that does not answer now is used
        again: the address and the attributes. Whether the user may be contacted is never taken from it.

        Never raises for an error of a source. Raises KeyError for a client that is not configured: the sources of
        another client may know a different person by the same id.
        """
        return self.result(await self.query(client, ext_user_id, self.ask), channel, earlier)

    async def query(
        self, client: str, ext_user_id: str, ask: Ask, begun: Mapping[str, Awaitable[Answer]] = _NONE_BEGUN
    ) -> Sequence[Answer]:
        """Query the sources of the client in turn until one knows the user, and all that are always asked.

        ``ask`` is called with each of them. The queries in ``begun`` are running already.
        """
        if not begun and (concurrent := self._concurrent.get(client)):
            async with asyncio.TaskGroup() as group:
                begun = {one.name: group.create_task(ask(one, ext_user_id)) for one in concurrent}
                return await self.query(client, ext_user_id, ask, begun)
        answers: list[Answer] = []
        known = False
        for source in self.sources[client]:
            if known and not source.settings.is_always_asked:
                continue
            answer = await (begun.get(source.name) or ask(source, ext_user_id))
            answers.append(answer)
            known = known or answer.contact is not None
        return answers

    async def ask(self, source: Instance, ext_user_id: str) -> Answer:
        """Query one source."""
        try:
            gathered = self._gathered.get(source.name)
            if gathered is not None:
                return Answer(source, await gathered.find(ext_user_id))
            return Answer(source, await source.as_source.find_contact(ext_user_id, self._timeout))
        except Unavailable as error:
            write = _log.error if error.misconfigured else _log.warning
            write("contact_source_unavailable", instance=source.name, reason=error.reason, code=error.code)
            return Answer(source, None, error)

    def result(
        self, answers: Sequence[Answer], channel: Channel, earlier: LookupResult | None = None
    ) -> LookupResult:
        """Return what the answers of a query say together; ``earlier`` is as in ``find``."""
        known: list[tuple[str, Contact]] = []
        away = must_wait = False
        for source, contact, failure in answers:
            if failure is not None:
                away, must_wait = True, must_wait or source.settings.blocks
                counts = dict(earlier.known).get(source.name) if earlier else None
            elif contact is not None and contact.blocked:
                return LookupResult(LookupOutcome.BLOCKED, blocked=contact.blocked)
            else:
                counts = contact
            if counts is not None and (not known or source.settings.merge):
                known.append((source.name, counts))
        if must_wait:
            return LookupResult(LookupOutcome.UNREACHABLE)
        found = self._recipient(known, channel, earlier)
        if not away or found.recipient is not None:
            return found
        # Where sources complete each other, one that is away may have the address of a user whom another knows.
        may_have_it = not known or any(one.source.settings.merge for one in answers)
        return LookupResult(LookupOutcome.UNREACHABLE) if may_have_it else found

    def _recipient(
        self, known: Sequence[tuple[str, Contact]], channel: Channel, earlier: LookupResult | None
    ) -> LookupResult:
        """Return the first usable address of these contacts, with the attributes of all."""
        for source, contact in known:
            raw = contact.email if channel is Channel.EMAIL else contact.phone
            if not raw:
                continue
            if earlier is not None and raw == earlier.raw:
                # It is canonical already: to read a number takes longer than the rest of a lookup.
                recipient = earlier.recipient
            elif canonical := self._canonical(raw.reveal(), channel):
                recipient = Secret(canonical)
            else:
                _log.warning("contact_unusable", instance=source, channel=channel.value)
                continue
            attributes = contact.attributes if len(known) == 1 else _merged(known)
            return LookupResult(
                LookupOutcome.FOUND, recipient, attributes, known=known, source=source, raw=raw
            )
        return LookupResult(LookupOutcome.NO_ADDRESS if known else LookupOutcome.UNKNOWN_USER)

    def _canonical(self, text: str, channel: Channel) -> str | None:
        return canonical_email(text) if channel is Channel.EMAIL else canonical_phone(text, self.region)


def _merged(known: Sequence[tuple[str, Contact]]) -> Mapping[str, str]:
    """Return the attributes of contacts: of each the first value that is not blank."""
    merged: dict[str, str] = {}
    for _, contact in known:
        for name, value in contact.attributes.items():
            if not merged.get(name, "").strip():
                merged[name] = value
    return merged


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
        now = self._clock()
        self._entries.pop(message_id, None)
        self._drop_oldest(now, self._max_entries - 1)
        self._entries[message_id] = (now, lookup)

    def drop_expired(self) -> None:
        """Drop the expired entries; has to be called regularly."""
        self._drop_oldest(self._clock(), self._max_entries)

    def _drop_oldest(self, now: float, max_entries: int) -> None:
        """Drop the expired entries, and the oldest until at most ``max_entries`` are left."""
        entries = self._entries
        while entries and (len(entries) > max_entries or next(iter(entries.values()))[0] + self._ttl <= now):
            entries.popitem(last=False)

    def take(self, message_id: str) -> LookupResult | None:
        """Remove and return the result for a message; None where there is none or it has expired."""
        entry = self._entries.pop(message_id, None)
        if entry is None or self._clock() - entry[0] >= self._ttl:
            return None
        return entry[1]
