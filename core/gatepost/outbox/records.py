"""What goes into the outbox and what comes out of it. All durations are in seconds."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from gatepost.content_keys import ContentKeys
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox.states import State
from gatepost.outbox.warmup_steps import Place, Warmup

OUR_ID = {"id": "ext_message_id"}
"""Renames ``id`` in JSON for operators: to the name that a message's id has in the contract with Smartico."""


class Queue(NamedTuple):
    """One queue: the messages of one channel, route and client."""

    id: int
    channel: Channel
    route: str
    """The name of the route; empty while it is not decided, because it depends on the recipient."""
    client: str


class Limit(NamedTuple):
    """The largest value that one counter may reach by accepting messages."""

    scope: str
    """What is counted, such as ``sms_per_day/brand``."""
    cap: int
    setting: str
    """The name of the setting for an operator, such as ``the client's sms_per_day``."""
    daily: bool = True
    """Whether it counts the messages of one calendar day (UTC); if not, those that are not at their end."""
    topic: str = ""
    """What log lines are about, where that is not the scope: the scope may name a user."""

    @property
    def problem(self) -> str:
        """Why a message is refused, for an operator."""
        end = "accepted again from 00:00 UTC" if self.daily else "accepted again when some have ended"
        return f"{self.setting} of {self.cap:,} is reached: {end}"


class Fallback(NamedTuple):
    """A route with ``next_after``: its members get a message one after the other, until one delivers it."""

    members: Sequence[str]
    """The names of the instances, in their order."""
    wait: float
    """Seconds that each member, except the last one, has for a delivery."""

    def after(self, passed: Collection[str]) -> Sequence[str]:
        """Return the members after the last one of those that had the message."""
        had_it = [position for position, name in enumerate(self.members, 1) if name in passed]
        return self.members[had_it[-1] :] if had_it else self.members


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be stored; its id is already Smartico's ext_message_id."""

    id: str
    client: str
    channel: Channel
    route: str = ""
    """The name of the route; empty where it depends on the recipient, who is not known yet."""
    country: str = ""
    """The country of the recipient's number, where it is known."""
    uid: str
    fingerprint: bytes
    ext_user_id: str
    preview: str
    """The reference of a preview's recipient; empty for every message that is not a preview."""
    callback_url: str
    content: bytes
    lifetime: float
    limits: Sequence[Limit] = ()
    """The limits that may refuse it; the first one that is reached does."""


class StoredMessage(msgspec.Struct, frozen=True):
    """What the outbox has stored under a uid."""

    id: str
    fingerprint: bytes
    suppressed: str = ""
    """If set, nothing is stored under the uid, and the user is suppressed for this reason."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A message that one process may send until its lease ends. ``attempt`` is the fence."""

    id: str
    attempt: int
    queue: Queue
    country: str
    uid: str = ""
    ext_user_id: str
    preview: str
    content: bytes
    missing_key: str = ""
    """The id of the key without which the content can't be read; then ``content`` is empty."""
    lifetime: float
    """Seconds until the message fails; may be negative."""
    suppressed: str = ""
    """Why the user must not be contacted, by the suppressions at the time of the claim; empty without one."""
    passed: frozenset[str] = frozenset()
    """Names of the instances that took the message and did not deliver it."""
    waited: float | None = None
    """Seconds since it was accepted, if no instance has had it yet."""

    @property
    def client(self) -> str:
        """The client whose message it is."""
        return self.queue.client

    @property
    def channel(self) -> Channel:
        """The channel on which it is sent."""
        return self.queue.channel

    @property
    def route(self) -> str:
        """The name of its route; empty while that is not decided."""
        return self.queue.route


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """One try of an attempt: the message was handed to one instance."""

    instance: str
    outcome: str
    """``sent``, ``rejected``, ``unavailable`` or ``uncertain``."""
    choice: str = ""
    """Why this instance was chosen, where the route had a choice."""
    provider_id: str = ""
    reason: str = ""
    """Why it was not sent; for a message that was, the merge fields without a value."""
    code: str = ""
    duration: float = 0.0
    pause: float = 0.0
    """Seconds between the try before it and this one."""
    parts: int = 0
    """The parts of a text message, as the provider counts them; 0 where it does not say."""
    counted_parts: int = 0
    """The parts of a text message as the gateway counts them, where the provider took it and does not say; else 0."""
    not_gsm7: str = ""
    """The first character of a text message that the GSM alphabet does not have, where the provider took it."""
    price: str = ""
    """A decimal number; empty where the provider does not say."""
    currency: str = ""


class SendResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a claim. It changes nothing when the claim was lost meanwhile."""

    id: str
    attempt: int
    state: State
    """SENT, QUEUED, UNCERTAIN, REJECTED or FAILED."""
    delay: float = 0.0
    """QUEUED: until the next attempt is due; UNCERTAIN: how long to wait for a report."""
    instance: str = ""
    """The plugin instance that tried last to send the message."""
    tries: Sequence[Try] = ()
    """The tries of this attempt, in their order."""
    reason: str = ""
    code: str = ""
    status: Status | None = None
    """REJECTED: a further status, which the answer proves about the user."""
    unused: Sequence[Place] = ()
    """The places of instances that warm up with which nothing was sent."""
    content: bytes = b""
    """Replaces the stored content if the message is to be tried again; empty: the content stays as it is."""


class ReportedEvents(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one webhook request, or what a user does by a link in a mail."""

    instance: str
    """The instance that reports; empty: the one that sent the message."""
    events: Sequence[StatusEvent]
    channels: frozenset[Channel] = frozenset(Channel)
    """The channels whose routes have the instance; on others only a message that it was asked to send is its own."""


class RecordResult(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one webhook request's events."""

    new: int
    """Statuses that were not known before, including each ``accepted`` that a report proved."""
    repeated: int
    unknown: int
    """Events about messages that the outbox doesn't have."""
    with_recipient: Sequence[StatusEvent] = []
    """Those of the unknown events that name a recipient; the message may be found by the user."""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """A status that one process may call back until its lease ends. ``attempt`` is the fence."""

    seq: int
    attempt: int
    message_id: str
    client: str
    channel: Channel
    status: Status
    callback_url: str
    target: str
    """``host:port`` of the URL."""


class CallbackResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a Callback. It changes nothing when the claim was lost meanwhile."""

    seq: int
    attempt: int
    acknowledged: bool
    retry_in: float | None = None
    """Seconds until the next attempt; None with ``acknowledged`` False: the callback is dead."""
    counts: bool = True
    """Whether it counts as a try; False gives the claim's attempt back."""
    http_status: int = 0
    """The status of the answer; 0 where there was none."""
    problem: str = ""


class NewStatus(NamedTuple):
    """A status to be recorded of a message."""

    message_id: str
    status: Status
    code: str = ""
    instance: str = ""
    """The instance that it is counted for; empty where none has had the message."""


class EndedMessage(NamedTuple):
    """A message that has reached a final state."""

    id: str
    client: str
    channel: Channel
    state: State
    """SENT, REJECTED or FAILED."""


class SweepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one sweep changed."""

    expired_claims: int = 0
    """Claims whose lease ended: the messages are now uncertain, or held."""
    held_after_deaths: Sequence[str] = ()
    """Ids of those messages that are now held, because the process died too often while it was sending them."""
    requeued: int = 0
    """Uncertain messages without a report that are queued again."""
    held: int = 0
    """Uncertain messages without a report that now wait for the operator."""
    passed: int = 0
    """Messages that were not delivered in time, and are queued for the next instance of their route."""
    failed: int = 0
    """Messages whose lifetime ended."""
    clock_corrections: int = 0
    """Times that were further in the future than any wait: the clock had jumped."""
    callbacks: int = 0
    """Callbacks that are queued again because the process that claimed them was lost."""

    @property
    def queued(self) -> bool:
        """Whether a message may be due now that was not due before."""
        return bool(self.requeued or self.passed or self.clock_corrections)

    @property
    def changes(self) -> int:
        """The number of rows changed; zero means that there was nothing to do."""
        waiting = self.expired_claims + self.requeued + self.held + self.passed
        return waiting + self.failed + self.clock_corrections + self.callbacks


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How the outbox treats messages and what it counts; from the `delivery` settings and the routes."""

    uncertain_wait: float = 120.0
    hold_uncertain: bool = False
    """Hold a message without a report for the operator, instead of queueing it again."""
    retention: float = 2_592_000.0
    suppress: frozenset[str] = frozenset()
    """The statuses after which a user is suppressed, by the names of `delivery.suppress`."""
    fallbacks: Mapping[tuple[Channel, str], Fallback] = {}
    """The routes with ``next_after``, by channel and name."""
    balanced: frozenset[str] = frozenset()
    """The names of the split routes that follow receipts: what they send and what of it is delivered is counted."""
    warmups: Mapping[str, Warmup] = {}
    """The warm-ups of instances, by their names."""
    content_keys: ContentKeys = ContentKeys()
    """How contents are stored."""
